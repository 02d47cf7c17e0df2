/* The daemon's life, from a configuration to the end. */
#ifndef CTL_DAEMON_H
#define CTL_DAEMON_H

struct config;

/* Starts everything, serves until SIGTERM or SIGINT, and takes everything down. Once a
 * process. 0 if a stop was asked for; -errno, logged, if it could not start or go on. */
int daemon_run(const struct config *cfg, const char *version);

#endif

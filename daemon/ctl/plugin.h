/* Loading a congestion control plug-in (tcp/mtcp_cc_plugin.h). */
#ifndef CTL_PLUGIN_H
#define CTL_PLUGIN_H

struct mtcp_cc_plugin;

/* Loads the shared object at `path`, which must be a regular file that root owns and nobody else
 * may write. It stays loaded. 0; or -EPERM (the file could be written by others), -ELOOP (a
 * symbolic link), -ENOEXEC (no shared object, or without the symbol), -EPROTO (another version
 * or size), -EINVAL (a function is missing, or the name is no name or taken), or as open(2);
 * *why then says it in words. */
int plugin_load(const char *path, const struct mtcp_cc_plugin **out, const char **why);

#endif

/* The grammar, by recursive descent; see pkt_script.h for what comes of it. */
#ifndef PKT_PARSE_H
#define PKT_PARSE_H

#include "pkt_lex.h"

/* 0, or -1 with s->error. */
int pkt_parse(struct pkt_script *s);

/* What follows '<' or '>'. */
bool pkt_parse_packet(struct pkt_lex *x, bool out, struct pkt_packet *p);
/* name(arguments) = result ERRNO (note) */
bool pkt_parse_call(struct pkt_lex *x, struct pkt_call *c);

#endif

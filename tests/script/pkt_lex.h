/* The words of the language: what the parser asks of the text.
 *
 * The parser knows at each place what may come, so words are read on demand and by kind; flags
 * ("S.", "."), times and names overlap too much for one stream of tokens. Reading skips white
 * space and comments first. The first error is kept and ends the parse: each function that
 * fails returns false, and so does everything called after it.
 */
#ifndef PKT_LEX_H
#define PKT_LEX_H

#include "pkt_script.h"

struct pkt_lex {
	struct pkt_script *script;
	const char *at;
	uint32_t line;
	bool failed;
};

void pkt_lex_init(struct pkt_lex *x, struct pkt_script *s);

/* Notes "file:line: ..."; returns false. */
bool pkt_lex_error(struct pkt_lex *x, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* True at the end of the text. */
bool pkt_lex_end(struct pkt_lex *x);
/* Whether the text goes on with this, which is not taken. */
bool pkt_lex_sees(struct pkt_lex *x, const char *what);
/* Takes it if it is there. */
bool pkt_lex_accept(struct pkt_lex *x, const char *what);
/* The same for a whole word: "win" does not match "window". */
bool pkt_lex_accept_word(struct pkt_lex *x, const char *word);
/* Takes it, or fails. */
bool pkt_lex_expect(struct pkt_lex *x, const char *what);

/* [A-Za-z_][A-Za-z0-9_]*; NULL if there is none. */
const char *pkt_lex_name(struct pkt_lex *x);
/* Decimal, hexadecimal or octal as in C, with a sign. */
bool pkt_lex_number(struct pkt_lex *x, int64_t *out);
/* The same, from 0 to max. */
bool pkt_lex_uint(struct pkt_lex *x, uint64_t max, uint64_t *out);
/* Seconds with a fraction, to microseconds. */
bool pkt_lex_time(struct pkt_lex *x, int64_t *out_us);
/* "..." */
const char *pkt_lex_string(struct pkt_lex *x);
/* All up to `end`, which is taken too. */
const char *pkt_lex_until(struct pkt_lex *x, const char *end);
/* The characters up to white space. */
const char *pkt_lex_token(struct pkt_lex *x);
/* The rest of the line. */
const char *pkt_lex_line(struct pkt_lex *x);

#endif

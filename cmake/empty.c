/* Keeps a folder that has no source file yet a library. */
extern int mtcpd_empty_translation_unit;

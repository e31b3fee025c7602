/* JSON, written as it goes and read into a tree. */

#ifndef JSON_H
#define JSON_H

#include <stddef.h>
#include <stdio.h>

/* ---- writing ----------------------------------------------------------- */

struct json {
    FILE *file;
    unsigned depth;
    int first; /* whether nothing was written yet at this depth */
};

void json_begin(struct json *json, FILE *file);
void json_end(struct json *json);
/* `name` is NULL for an element of an array. */
void json_open(struct json *json, const char *name, char bracket); /* '{' or '[' */
void json_close(struct json *json, char bracket);                  /* '}' or ']' */
void json_text(struct json *json, const char *name, const char *text);
void json_view(struct json *json, const char *name, const char *text, size_t length);
void json_number(struct json *json, const char *name, double value); /* null if not finite */
void json_count(struct json *json, const char *name, unsigned long long value);
void json_bool(struct json *json, const char *name, int value);
void json_null(struct json *json, const char *name);

/* ---- reading ----------------------------------------------------------- */

enum json_kind { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_TEXT, JSON_ARRAY, JSON_OBJECT };

struct json_value {
    enum json_kind kind;
    char *name;   /* in an object */
    char *text;   /* of a text */
    double number; /* of a number or a bool */
    struct json_value *child, *next;
};

/* Reads a file; NULL with a message in `problem` (which has room for 256) if it is no
 * JSON. */
struct json_value *json_read(const char *path, char *problem);
void json_free(struct json_value *value);
/* A member of an object, or NULL. */
const struct json_value *json_get(const struct json_value *object, const char *name);
/* The number or the text of a member; a default if it has none. */
double json_number_of(const struct json_value *object, const char *name, double otherwise);
const char *json_text_of(const struct json_value *object, const char *name, const char *otherwise);

#endif

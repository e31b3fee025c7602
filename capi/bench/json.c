#include "json.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- writing ----------------------------------------------------------- */

void json_begin(struct json *json, FILE *file) {
    json->file = file;
    json->depth = 0;
    json->first = 1;
}

void json_end(struct json *json) { fputc('\n', json->file); }

static void write_text(FILE *file, const char *text, size_t length) {
    size_t i;
    fputc('"', file);
    for (i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (byte == '"' || byte == '\\')
            fprintf(file, "\\%c", byte);
        else if (byte < 0x20)
            fprintf(file, "\\u%04x", byte);
        else
            fputc(byte, file);
    }
    fputc('"', file);
}

static void begin_value(struct json *json, const char *name) {
    unsigned i;
    if (!json->first) fputc(',', json->file);
    if (json->depth) fputc('\n', json->file);
    for (i = 0; i < json->depth; i++) fputs("  ", json->file);
    if (name) {
        write_text(json->file, name, strlen(name));
        fputs(": ", json->file);
    }
    json->first = 0;
}

void json_open(struct json *json, const char *name, char bracket) {
    begin_value(json, name);
    fputc(bracket, json->file);
    json->depth++;
    json->first = 1;
}

void json_close(struct json *json, char bracket) {
    unsigned i;
    json->depth--;
    if (!json->first) {
        fputc('\n', json->file);
        for (i = 0; i < json->depth; i++) fputs("  ", json->file);
    }
    fputc(bracket, json->file);
    json->first = 0;
}

void json_view(struct json *json, const char *name, const char *text, size_t length) {
    begin_value(json, name);
    write_text(json->file, text, length);
}

void json_text(struct json *json, const char *name, const char *text) { json_view(json, name, text, strlen(text)); }

void json_number(struct json *json, const char *name, double value) {
    begin_value(json, name);
    if (isfinite(value))
        fprintf(json->file, "%.9g", value);
    else
        fputs("null", json->file);
}

void json_count(struct json *json, const char *name, unsigned long long value) {
    begin_value(json, name);
    fprintf(json->file, "%llu", value);
}

void json_bool(struct json *json, const char *name, int value) {
    begin_value(json, name);
    fputs(value ? "true" : "false", json->file);
}

void json_null(struct json *json, const char *name) {
    begin_value(json, name);
    fputs("null", json->file);
}

/* ---- reading ----------------------------------------------------------- */

struct reader {
    const char *at, *begin;
    const char *wrong; /* what was expected where reading stopped */
    unsigned depth;
};

static struct json_value *read_value(struct reader *reader);

static void *grown(void *block, size_t size) {
    void *larger = realloc(block, size);
    if (!larger) abort();
    return larger;
}

static void skip_space(struct reader *reader) { reader->at += strspn(reader->at, " \t\r\n"); }

static int take(struct reader *reader, char sign) {
    skip_space(reader);
    if (*reader->at != sign) return 0;
    reader->at++;
    return 1;
}

/* A text without its quotes. Escapes above 0x7f become '?': only our own files are read,
 * which write such characters as they are. */
static char *read_text(struct reader *reader) {
    char *text = NULL;
    size_t length = 0;
    if (!take(reader, '"')) {
        reader->wrong = "a text";
        return NULL;
    }
    for (;;) {
        char byte = *reader->at;
        if (byte == '\0' || (unsigned char)byte < 0x20) {
            reader->wrong = "the end of a text";
            free(text);
            return NULL;
        }
        reader->at++;
        if (byte == '"') break;
        if (byte == '\\') {
            static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
            char escape = *reader->at;
            const char *known = escape ? strchr(from, escape) : NULL;
            unsigned code;
            if (known) {
                byte = to[known - from];
                reader->at++;
            } else if (escape == 'u' && strspn(reader->at + 1, "0123456789abcdefABCDEF") >= 4 &&
                       sscanf(reader->at + 1, "%4x", &code) == 1) {
                byte = code < 0x80 ? (char)code : '?';
                reader->at += 5;
            } else {
                reader->wrong = "an escape";
                free(text);
                return NULL;
            }
        }
        text = (char *)grown(text, length + 2);
        text[length++] = byte;
    }
    text = (char *)grown(text, length + 1);
    text[length] = '\0';
    return text;
}

static int read_members(struct reader *reader, struct json_value *value, char end) {
    struct json_value **tail = &value->child;
    reader->at++;
    if (take(reader, end)) return 1;
    do {
        char *name = NULL;
        if (end == '}') {
            name = read_text(reader);
            if (!name) return 0;
            if (!take(reader, ':')) {
                reader->wrong = "`:`";
                free(name);
                return 0;
            }
        }
        *tail = read_value(reader);
        if (!*tail) {
            free(name);
            return 0;
        }
        (*tail)->name = name;
        tail = &(*tail)->next;
    } while (take(reader, ','));
    if (take(reader, end)) return 1;
    reader->wrong = "`,` or the end of a list";
    return 0;
}

static struct json_value *read_value(struct reader *reader) {
    static const struct {
        const char *word;
        enum json_kind kind;
        double number;
    } words[] = {{"null", JSON_NULL, 0}, {"true", JSON_BOOL, 1}, {"false", JSON_BOOL, 0}};
    struct json_value *value = (struct json_value *)calloc(1, sizeof *value);
    int good = 0;
    size_t i;
    if (!value) abort();
    skip_space(reader);
    if (++reader->depth > 32) {
        reader->wrong = "less depth";
    } else if (*reader->at == '{' || *reader->at == '[') {
        value->kind = *reader->at == '{' ? JSON_OBJECT : JSON_ARRAY;
        good = read_members(reader, value, *reader->at == '{' ? '}' : ']');
    } else if (*reader->at == '"') {
        value->kind = JSON_TEXT;
        value->text = read_text(reader);
        good = value->text != NULL;
    } else if (*reader->at == '-' || (*reader->at >= '0' && *reader->at <= '9')) {
        char *end;
        value->kind = JSON_NUMBER;
        value->number = strtod(reader->at, &end);
        good = end != reader->at;
        reader->at = end;
    } else {
        for (i = 0; i < 3 && !good; i++) {
            size_t length = strlen(words[i].word);
            if (strncmp(reader->at, words[i].word, length) != 0) continue;
            value->kind = words[i].kind;
            value->number = words[i].number;
            reader->at += length;
            good = 1;
        }
        if (!good) reader->wrong = "a value";
    }
    reader->depth--;
    if (good) return value;
    json_free(value);
    return NULL;
}

struct json_value *json_read(const char *path, char *problem) {
    FILE *file = fopen(path, "rb");
    struct json_value *value;
    struct reader reader;
    char *text = NULL;
    size_t length = 0, read;
    if (!file) {
        snprintf(problem, 256, "%.180s: %s", path, strerror(errno));
        return NULL;
    }
    do {
        text = (char *)grown(text, length + 65537);
        read = fread(text + length, 1, 65536, file);
        length += read;
    } while (read > 0);
    fclose(file);
    text[length] = '\0';
    memset(&reader, 0, sizeof reader);
    reader.at = reader.begin = text;
    value = read_value(&reader);
    skip_space(&reader);
    if (value && *reader.at) {
        reader.wrong = "the end of the file";
        json_free(value);
        value = NULL;
    }
    if (!value)
        snprintf(problem, 256, "%.180s is no JSON: %s should be at byte %lu", path, reader.wrong ? reader.wrong : "a value",
                 (unsigned long)(reader.at - reader.begin));
    free(text);
    return value;
}

void json_free(struct json_value *value) {
    while (value) {
        struct json_value *next = value->next;
        json_free(value->child);
        free(value->name);
        free(value->text);
        free(value);
        value = next;
    }
}

const struct json_value *json_get(const struct json_value *object, const char *name) {
    const struct json_value *member = object && object->kind == JSON_OBJECT ? object->child : NULL;
    while (member && strcmp(member->name, name) != 0) member = member->next;
    return member;
}

double json_number_of(const struct json_value *object, const char *name, double otherwise) {
    const struct json_value *member = json_get(object, name);
    return member && member->kind == JSON_NUMBER ? member->number : otherwise;
}

const char *json_text_of(const struct json_value *object, const char *name, const char *otherwise) {
    const struct json_value *member = json_get(object, name);
    return member && member->kind == JSON_TEXT ? member->text : otherwise;
}

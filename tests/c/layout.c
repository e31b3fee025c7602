/* Prints the layout that the C compiler gives each public struct, as JSON. The
 * driver compares it with capi/abi/layout.json, which Rust wrote. */

#include "check.h"

struct align_limbeck_str { char c; limbeck_str value; };
struct align_limbeck_env_options { char c; limbeck_env_options value; };
struct align_limbeck_model_options { char c; limbeck_model_options value; };
struct align_limbeck_call_options { char c; limbeck_call_options value; };
struct align_limbeck_score { char c; limbeck_score value; };
struct align_limbeck_usage { char c; limbeck_usage value; };

static const char *comma = "";

static void number(const char *name, size_t value) {
    printf("%s\"%s\": %lu", comma, name, (unsigned long)value);
    comma = ", ";
}

#define BEGIN(type)                                                   \
    printf("%s\n\"%s\": {", comma, #type);                            \
    comma = "";                                                       \
    number("size", sizeof(type));                                     \
    number("align", offsetof(struct align_##type, value));            \
    printf(", \"offsets\": {");                                       \
    comma = ""
#define FIELD(type, field) number(#field, offsetof(type, field))
#define END()       \
    printf("}}");   \
    comma = ","

int main(void) {
    printf("{");
    BEGIN(limbeck_str);
    FIELD(limbeck_str, data);
    FIELD(limbeck_str, length);
    END();
    BEGIN(limbeck_env_options);
    FIELD(limbeck_env_options, size);
    FIELD(limbeck_env_options, runtime_path);
    END();
    BEGIN(limbeck_model_options);
    FIELD(limbeck_model_options, size);
    FIELD(limbeck_model_options, threads);
    FIELD(limbeck_model_options, sessions);
    FIELD(limbeck_model_options, spinning);
    FIELD(limbeck_model_options, reserved);
    END();
    BEGIN(limbeck_call_options);
    FIELD(limbeck_call_options, size);
    FIELD(limbeck_call_options, overflow);
    FIELD(limbeck_call_options, window_stride);
    FIELD(limbeck_call_options, top_k);
    FIELD(limbeck_call_options, deadline_ms);
    FIELD(limbeck_call_options, cancel);
    END();
    BEGIN(limbeck_score);
    FIELD(limbeck_score, size);
    FIELD(limbeck_score, label);
    FIELD(limbeck_score, index);
    FIELD(limbeck_score, probability);
    FIELD(limbeck_score, logit);
    END();
    BEGIN(limbeck_usage);
    FIELD(limbeck_usage, size);
    FIELD(limbeck_usage, tokens_used);
    FIELD(limbeck_usage, tokens_dropped);
    FIELD(limbeck_usage, windows);
    FIELD(limbeck_usage, tokenize_ns);
    FIELD(limbeck_usage, inference_ns);
    FIELD(limbeck_usage, post_ns);
    END();
    printf("\n}\n");
    return 0;
}

/* The calls of a task, on made-up texts of an exact number of tokens. */

#ifndef TASK_H
#define TASK_H

#include <limbeck.h>

/* Texts for one combination of length and batch. */
struct texts {
    const char *task;
    size_t batch;
    limbeck_str *texts;  /* of tasks that read one */
    limbeck_pair *pairs; /* of those that read two */
    char *first, *second;
    float *vectors;
    size_t vector_floats;
};

/* Makes texts of `length` tokens, or of as few less as the words allow. `words` may be
 * NULL: English ones. */
limbeck_status texts_make(const limbeck_model *model, const char *task, const char *words, size_t length, size_t batch,
                          struct texts *texts, limbeck_error **error);
void texts_free(struct texts *texts);

/* One call. */
limbeck_status task_call(const limbeck_model *model, const struct texts *texts, const limbeck_call_options *options,
                         limbeck_result **result, limbeck_error **error);

/* Whether this program knows the task. */
int task_known(const char *task);

#endif

/* A classifier fitted on the device: fit, use, save, load. */

#include "check.h"

#include <unistd.h>

int main(int argc, char **argv) {
    limbeck_pair examples[4];
    limbeck_str texts[2], label;
    limbeck_call_options options = call_options();
    limbeck_result *result = NULL, *again = NULL;
    limbeck_head *head = NULL, *loaded = NULL;
    char *path;
    char name[64];
    limbeck_model *model, *other;
    CHECK(argc >= 3);
    model = open_beside(argv, "embedder.limbeck");
    examples[0].first = str("good");
    examples[1].first = str("good film");
    examples[2].first = str("bad");
    examples[3].first = str("bad film");
    examples[0].second = examples[1].second = str("praise");
    examples[2].second = examples[3].second = str("blame");

    OK(limbeck_head_fit(model, examples, 4, 0, NULL, &head, &error));
    CHECK(limbeck_head_label_count(head) == 2 && limbeck_head_label_count(NULL) == 0);
    OK(limbeck_head_label(head, 1, &label, &error));
    CHECK(is(label, "blame"));
    FAILS(LIMBECK_INVALID_ARGUMENT, "index is 2", limbeck_head_label(head, 2, &label, &error));
    texts[0] = str("the good film");
    texts[1] = str("the bad film");
    OK(limbeck_head_classify(head, model, texts, 2, NULL, &result, &error));
    CHECK(is(score_of(result, 0, 0).label, "praise") && is(score_of(result, 1, 0).label, "blame"));

    sprintf(name, "head-%ld.json", (long)getpid());
    path = beside(argv[1], name);
    OK(limbeck_head_save(head, path, strlen(path), &error));
    OK(limbeck_head_load(path, strlen(path), &loaded, &error));
    CHECK(remove(path) == 0);
    OK(limbeck_head_classify(loaded, model, texts, 2, NULL, &again, &error));
    CHECK(score_of(result, 0, 0).logit == score_of(again, 0, 0).logit);
    limbeck_result_free(again);
    limbeck_result_free(result);
    limbeck_head_free(loaded);
    FAILS(LIMBECK_NOT_FOUND, name, limbeck_head_load(path, strlen(path), &loaded, &error));
    CHECK(loaded == NULL);
    free(path);
    FAILS(LIMBECK_INVALID_ARGUMENT, "few-shot", limbeck_head_load(argv[1], strlen(argv[1]), &loaded, &error));

    options.top_k = 1;
    options.out_of_scope = 0.9999f;
    OK(limbeck_head_classify(head, model, texts, 2, &options, &result, &error));
    CHECK(items_of(result, 0) == 1);
    {
        bool in_scope = true;
        OK(limbeck_result_in_scope(result, 0, &in_scope, &error));
        CHECK(!in_scope && score_of(result, 0, 0).holds == 0);
    }
    limbeck_result_free(result);

    other = open_model(argv, 0);
    FAILS(LIMBECK_INVALID_ARGUMENT, "fit it again", limbeck_head_classify(head, other, texts, 2, NULL, &result, &error));
    FAILS(LIMBECK_WRONG_TASK, "sentence-embedding", limbeck_head_fit(other, examples, 4, 0, NULL, &loaded, &error));
    FAILS(LIMBECK_INVALID_ARGUMENT, "at least 2", limbeck_head_fit(model, examples, 2, 0, NULL, &loaded, &error));
    FAILS(LIMBECK_INVALID_ARGUMENT, "strength", limbeck_head_fit(model, examples, 4, -1, NULL, &loaded, &error));
    limbeck_model_free(other);
    limbeck_model_free(model);
    limbeck_head_free(head);
    return done();
}

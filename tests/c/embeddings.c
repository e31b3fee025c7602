/* Vectors, in the caller's buffer and as a view, and what is done with them. */

#include "check.h"

int main(int argc, char **argv) {
    limbeck_str texts[3];
    limbeck_result *result = NULL;
    float one[2] = {9, 9}, all[7], cosine = 9, similarities[2];
    const float *view = NULL;
    size_t length = 0, indices[2], found = 9, i;
    limbeck_model *model;
    limbeck_call_options options = call_options();
    CHECK(argc >= 3);
    model = open_beside(argv, "embedder.limbeck");
    CHECK(limbeck_model_embedding_size(model) == 2 && limbeck_model_embedding_size(NULL) == 0);

    /* "good": (-8, 8) over three tokens, scaled to length 1. */
    OK(limbeck_model_embed(model, "good", 4, NULL, one, 2, NULL, &error));
    CHECK(near(one[0], -0.70710678) && near(one[1], 0.70710678));

    /* With the usage, and as a view without a buffer. */
    one[0] = 9;
    OK(limbeck_model_embed(model, "good", 4, NULL, one, 2, &result, &error));
    CHECK(near(one[0], -0.70710678) && usage_of(result, 0).tokens_used == 3);
    limbeck_result_free(result);
    OK(limbeck_model_embed(model, "bad", 3, NULL, NULL, 0, &result, &error));
    OK(limbeck_result_vector(result, 0, &view, &length, &error));
    CHECK(length == 2 && near(view[0], 0.70710678) && items_of(result, 0) == 2);
    CHECK(holds(limbeck_result_json(result), "\"vector\":[0.7"));
    FAILS(LIMBECK_INVALID_ARGUMENT, "text is 1", limbeck_result_vector(result, 1, &view, &length, &error));
    CHECK(view == NULL && length == 0);
    limbeck_result_free(result);

    texts[0] = str("good");
    texts[1] = str("bad bad");
    texts[2] = str("film \xF0\x9F\x99\x82");
    for (i = 0; i < 7; i++) all[i] = 9;
    OK(limbeck_model_embed_batch(model, texts, 3, NULL, all, 7, NULL, &error));
    CHECK(all[6] == 9); /* no more than is needed is written */
    OK(limbeck_similarity(all, all + 2, 2, &cosine, &error));
    CHECK(near(cosine, -1));
    OK(limbeck_nearest(all, 2, all, 3, 2, indices, similarities, &found, &error));
    CHECK(found == 2 && indices[0] == 0 && indices[1] == 2 && near(similarities[0], 1));
    OK(limbeck_nearest(all, 2, all, 3, 2, indices, NULL, &found, &error));
    CHECK(found == 2);
    OK(limbeck_nearest(all, 2, NULL, 0, 2, indices, NULL, &found, &error));
    CHECK(found == 0);
    OK(limbeck_nearest(all, 2, all, 3, 0, NULL, NULL, &found, &error));
    CHECK(found == 0);

    /* Buffers that will not do, before any work is done. */
    FAILS(LIMBECK_INVALID_ARGUMENT, "capacity is 5 floats and 3 vectors of 2 need 6",
          limbeck_model_embed_batch(model, texts, 3, NULL, all, 5, NULL, &error));
    FAILS(LIMBECK_NULL_POINTER, "vectors", limbeck_model_embed(model, "x", 1, NULL, NULL, 2, &result, &error));
    FAILS(LIMBECK_NULL_POINTER, "vectors", limbeck_model_embed(model, "x", 1, NULL, NULL, 0, NULL, &error));
    FAILS(LIMBECK_INVALID_ARGUMENT, "address space",
          limbeck_model_embed_batch(model, texts, (size_t)-1, NULL, all, 7, NULL, &error));
    found = 9;
    FAILS(LIMBECK_INVALID_ARGUMENT, "too large", limbeck_nearest(all, 2, all, (size_t)-1, 1, indices, NULL, &found, &error));
    CHECK(found == 0);
    FAILS(LIMBECK_INVALID_ARGUMENT, "length is 0", limbeck_nearest(all, 0, all, 1, 1, indices, NULL, &found, &error));
    FAILS(LIMBECK_NULL_POINTER, "indices", limbeck_nearest(all, 2, all, 3, 1, NULL, NULL, &found, &error));
    options.top_k = 1;
    FAILS(LIMBECK_INVALID_ARGUMENT, "top_k", limbeck_model_embed(model, "x", 1, &options, one, 2, NULL, &error));
    OK(limbeck_model_embed_batch(model, NULL, 0, NULL, all, 7, &result, &error));
    CHECK(limbeck_result_count(result) == 0);
    limbeck_result_free(result);
    limbeck_model_free(model);
    return done();
}

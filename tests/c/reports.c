/* What a model tells of itself: self-test, memory, counters, tokens, manifest. */

#include "check.h"

int main(int argc, char **argv) {
    limbeck_self_test test;
    limbeck_memory memory;
    limbeck_metrics before, after;
    limbeck_model_options options;
    limbeck_bundle *bundle = NULL;
    limbeck_result *result = NULL;
    limbeck_env *env;
    size_t tokens = 99;
    limbeck_str texts[3];
    limbeck_model *model, *failing, *small = NULL;
    CHECK(argc >= 3);
    model = open_model(argv, 3);
    limbeck_self_test_init(&test, sizeof test);
    limbeck_memory_init(&memory, sizeof memory);
    limbeck_metrics_init(&before, sizeof before);
    limbeck_metrics_init(&after, sizeof after);

    OK(limbeck_model_self_test(model, &test, &error));
    CHECK(test.vectors == 1 && test.largest_difference < 1e-5f && near(test.tolerance, 1e-3));
    OK(limbeck_model_self_test(model, NULL, &error));
    failing = open_beside(argv, "failing.limbeck");
    FAILS(LIMBECK_SELF_TEST, "tiny", limbeck_model_self_test(failing, &test, &error));
    limbeck_model_free(failing);
    test.size = 3;
    FAILS(LIMBECK_BAD_STRUCT_SIZE, "report", limbeck_model_self_test(model, &test, &error));

    OK(limbeck_model_memory(model, &memory, &error));
    CHECK(memory.budget == 0 && memory.expected > 0 && memory.sessions == 3 && memory.batch_tokens > 0);
    FAILS(LIMBECK_NULL_POINTER, "out", limbeck_model_memory(model, NULL, &error));

    OK(limbeck_model_metrics(model, &before, &error));
    texts[0] = texts[1] = str("good");
    texts[2] = str("a good film");
    OK(limbeck_model_classify_batch(model, texts, 3, NULL, &result, &error));
    limbeck_result_free(result);
    CHECK(limbeck_model_classify(model, "\xFF", 1, NULL, &result, NULL) == LIMBECK_INVALID_UTF8);
    OK(limbeck_model_metrics(model, &after, &error));
    CHECK(after.calls == before.calls + 1 && after.failures == before.failures);
    CHECK(after.rows == before.rows + 3 && after.tokens == before.tokens + 3 + 3 + 5);
    CHECK(after.runs > before.runs && after.run_micros >= before.run_micros);

    OK(limbeck_model_count_tokens(model, "the good film", 13, &tokens, &error));
    CHECK(tokens == 5);
    FAILS(LIMBECK_INVALID_UTF8, "text", limbeck_model_count_tokens(model, "\xFF", 1, &tokens, &error));
    CHECK(tokens == 0);

    OK(limbeck_model_bundle(model, &bundle, &error));
    CHECK(holds(limbeck_bundle_manifest_json(bundle), "\"id\":\"tiny\""));
    CHECK(limbeck_bundle_manifest_json(bundle).data == limbeck_bundle_manifest_json(bundle).data);
    CHECK(limbeck_bundle_manifest_json(NULL).length == 0);
    CHECK(limbeck_bundle_signer_count(bundle) == 0);

    /* A budget that is kept, and one that cannot be. */
    env = open_env(argv[2]);
    limbeck_model_options_init(&options, sizeof options);
    options.memory_budget = 64u << 20;
    OK(limbeck_model_open_bundle(env, bundle, &options, &small, &error));
    OK(limbeck_model_memory(small, &memory, &error));
    CHECK(memory.budget == 64u << 20 && memory.expected <= memory.budget);
    limbeck_model_free(small);
    options.memory_budget = 1;
    FAILS(LIMBECK_MEMORY_BUDGET, "", limbeck_model_open_bundle(env, bundle, &options, &small, &error));

    /* Threads of the env are the default of its models. */
    limbeck_env_free(env);
    limbeck_bundle_free(bundle);
    limbeck_model_free(model);
    return done();
}

/* Entities: labels, texts and places in three units, in single calls and batches. */

#include "check.h"

static limbeck_entity entity_of(const limbeck_result *result, size_t text, size_t index) {
    limbeck_entity entity;
    limbeck_entity_init(&entity, sizeof entity);
    OK(limbeck_result_entity(result, text, index, &entity, &error));
    return entity;
}

int main(int argc, char **argv) {
    /* An emoji before, so that the three units differ: 4 bytes, 2 UTF-16 units, 1 character. */
    const char *text = "\xF0\x9F\x99\x82 Ada Lovelace wrote it, London";
    limbeck_str texts[3];
    limbeck_call_options options = call_options();
    limbeck_result *result = NULL;
    limbeck_entity entity;
    limbeck_score score;
    char *longer;
    limbeck_model *model;
    CHECK(argc >= 3);
    model = open_beside(argv, "entities.limbeck");

    OK(limbeck_model_tag(model, text, strlen(text), NULL, &result, &error));
    CHECK(limbeck_result_count(result) == 1 && items_of(result, 0) == 2);
    entity = entity_of(result, 0, 0);
    CHECK(is(entity.label, "PER") && is(entity.text, "Ada Lovelace"));
    CHECK(entity.span.byte_begin == 5 && entity.span.byte_end == 17);
    CHECK(entity.span.utf16_begin == 3 && entity.span.utf16_end == 15);
    CHECK(entity.span.char_begin == 2 && entity.span.char_end == 14);
    CHECK(memcmp(text + entity.span.byte_begin, entity.text.data, entity.text.length) == 0);
    /* e^6 against three others of e^0. */
    CHECK(near(entity.score, 403.428793 / 406.428793));
    CHECK(is(entity_of(result, 0, 1).label, "LOC") && is(entity_of(result, 0, 1).text, "London"));
    CHECK(holds(limbeck_result_json(result), "\"label\":\"PER\""));
    CHECK(holds(limbeck_result_json(result), "\"utf16\":[3,15]"));
    CHECK(usage_of(result, 0).tokens_used == 9);

    /* What a result does not hold. */
    limbeck_score_init(&score, sizeof score);
    FAILS(LIMBECK_INVALID_ARGUMENT, "limbeck_result_entity", limbeck_result_score(result, 0, 0, &score, &error));
    FAILS(LIMBECK_INVALID_ARGUMENT, "index is 2", limbeck_result_entity(result, 0, 2, &entity, &error));
    limbeck_result_free(result);

    options.aggregation = LIMBECK_AGGREGATION_NONE;
    OK(limbeck_model_tag(model, text, strlen(text), &options, &result, &error));
    CHECK(items_of(result, 0) == 3 && is(entity_of(result, 0, 0).label, "B-PER"));
    limbeck_result_free(result);
    options = call_options();
    options.threshold = 0.999f;
    OK(limbeck_model_tag(model, text, strlen(text), &options, &result, &error));
    CHECK(items_of(result, 0) == 0);
    limbeck_result_free(result);

    /* Longer than the model takes: windows by themselves, and the end is found. */
    longer = repeat("the", 300);
    memcpy(longer + 1196, "ada ", 4);
    texts[0] = str("London");
    texts[1] = str("");
    texts[2] = str(longer);
    OK(limbeck_model_tag_batch(model, texts, 3, NULL, &result, &error));
    CHECK(limbeck_result_count(result) == 3);
    CHECK(items_of(result, 0) == 1 && items_of(result, 1) == 0 && items_of(result, 2) == 1);
    CHECK(entity_of(result, 2, 0).span.byte_begin == 1196);
    CHECK(usage_of(result, 2).windows > 4 && usage_of(result, 2).tokens_dropped == 0);
    limbeck_result_free(result);
    free(longer);

    FAILS(LIMBECK_WRONG_TASK, "token-classification", limbeck_model_classify(model, "x", 1, NULL, &result, &error));
    CHECK(result == NULL);
    limbeck_model_free(model);
    return done();
}

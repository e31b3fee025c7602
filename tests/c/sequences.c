/* Random sequences of calls: opening, using, freeing in any order, with texts that
 * may be anything. Each input is a program of one byte an operation. Without a
 * fuzzer (main, below) inputs come from a seeded generator; with libFuzzer (see
 * tests/fuzz) from LLVMFuzzerTestOneInput.
 *
 * What must hold: no crash, no leak; a failed call leaves NULL and an error of its
 * status; a call that worked leaves no error; places lie inside their texts. */

#include "check.h"

#define SLOTS 3

static const char *const names[] = {"tiny.limbeck",     "pairs.limbeck", "entities.limbeck", "reader.limbeck",
                                    "embedder.limbeck", "masks.limbeck", "failing.limbeck",  "nothing.limbeck"};
static char *paths[8];
static limbeck_env *env;

/* The input, read byte by byte; 0 once it has ended. */
static const uint8_t *input, *input_end;

static uint8_t next(void) { return input < input_end ? *input++ : (uint8_t)0; }

static const char *next_text(size_t *length) {
    size_t left = (size_t)(input_end - input);
    const char *text = (const char *)input;
    *length = next() % 48u;
    if (left > 0) text++, left--;
    if (*length > left) *length = left;
    input += *length;
    return text;
}

static limbeck_str next_str(void) {
    limbeck_str text;
    text.data = next_text(&text.length);
    return text;
}

/* What every call must keep to. */
static void judge(limbeck_status status, const void *made, limbeck_error *error) {
    CHECK(status == limbeck_error_code(error));
    CHECK(status != LIMBECK_INTERNAL && status != LIMBECK_BAD_STRUCT_SIZE);
    if (status == LIMBECK_OK) {
        CHECK(error == NULL && made != NULL);
    } else {
        CHECK(made == NULL && limbeck_error_message(error).length > 0);
    }
    limbeck_error_free(error);
}

static limbeck_call_options next_options(const limbeck_cancel *cancel) {
    limbeck_call_options options = call_options();
    uint8_t flags = next();
    if (flags & 1) options.overflow = next() % 5u;
    if (flags & 2) options.window_stride = next();
    if (flags & 4) options.top_k = next();
    if (flags & 8) options.threshold = (float)next() / 128;
    if (flags & 16) options.aggregation = next() % 6u;
    if (flags & 32) options.cancel = cancel;
    if (flags & 64) options.deadline_ms = 1u + next();
    if (flags & 128) options.hypothesis = next_str();
    return options;
}

static void look(const limbeck_result *result, size_t text_length) {
    size_t count = limbeck_result_count(result), text = next() % 4u, item = next() % 8u, items = 0, length = 0;
    limbeck_error *error = NULL;
    limbeck_score score;
    limbeck_entity entity;
    limbeck_answer answer;
    limbeck_guess guess;
    const float *vector = NULL;
    bool known = limbeck_result_item_count(result, text, &items, NULL) == LIMBECK_OK;
    CHECK(known == (text < count));
    limbeck_score_init(&score, sizeof score);
    limbeck_entity_init(&entity, sizeof entity);
    limbeck_answer_init(&answer, sizeof answer);
    limbeck_guess_init(&guess, sizeof guess);
    if (limbeck_result_score(result, text, item, &score, NULL) == LIMBECK_OK)
        CHECK(known && item < items && score.probability >= 0 && score.probability <= 1.0001f);
    if (limbeck_result_entity(result, text, item, &entity, NULL) == LIMBECK_OK)
        CHECK(item < items && entity.span.byte_begin < entity.span.byte_end && entity.span.byte_end <= text_length &&
              entity.text.length == entity.span.byte_end - entity.span.byte_begin);
    if (limbeck_result_answer(result, text, item, &answer, NULL) == LIMBECK_OK)
        CHECK(item < items && answer.span.byte_end <= text_length && answer.span.char_end <= answer.span.utf16_end &&
              answer.span.utf16_end <= answer.span.byte_end);
    if (limbeck_result_guess(result, text, item, &guess, NULL) == LIMBECK_OK)
        CHECK(item < items && guess.span.byte_end <= text_length);
    if (limbeck_result_vector(result, text, &vector, &length, &error) == LIMBECK_OK)
        CHECK(length == items && length > 0 && vector[length - 1] <= 1.0001f);
    limbeck_error_free(error);
    CHECK(limbeck_result_json(result).length >= (result ? 2u : 0u));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    limbeck_bundle *bundles[SLOTS] = {NULL, NULL, NULL};
    limbeck_model *models[SLOTS] = {NULL, NULL, NULL};
    limbeck_result *results[SLOTS] = {NULL, NULL, NULL};
    size_t lengths[SLOTS] = {0, 0, 0};
    limbeck_head *head = NULL;
    limbeck_slot *slot = NULL;
    limbeck_cancel *cancel = NULL;
    int i, steps;
    input = data;
    input_end = data + size;
    for (steps = 0; input < input_end && steps < 64; steps++) {
        uint8_t operation = next();
        size_t a = next() % SLOTS, b = next() % SLOTS;
        const char *path = paths[next() % 8u];
        limbeck_error *error = NULL;
        limbeck_status status = LIMBECK_OK;
        switch (operation % 20) {
        case 0:
            limbeck_bundle_free(bundles[a]);
            status = limbeck_bundle_open(path, strlen(path), NULL, &bundles[a], &error);
            judge(status, bundles[a], error);
            break;
        case 1: {
            /* Bytes of the input, which are hardly ever a bundle. */
            size_t length;
            const char *bytes = next_text(&length);
            limbeck_bundle_free(bundles[a]);
            status = limbeck_bundle_open_bytes((const uint8_t *)bytes, length, NULL, &bundles[a], &error);
            judge(status, bundles[a], error);
            break;
        }
        case 2:
        case 3:
            limbeck_model_free(models[a]);
            status = limbeck_model_open(env, path, strlen(path), NULL, &models[a], &error);
            judge(status, models[a], error);
            break;
        case 4:
            limbeck_model_free(models[a]);
            status = limbeck_model_open_bundle(env, bundles[b], NULL, &models[a], &error);
            judge(status, models[a], error);
            break;
        case 5:
            limbeck_bundle_free(bundles[a]);
            status = limbeck_model_bundle(models[b], &bundles[a], &error);
            judge(status, bundles[a], error);
            break;
        case 6:
            limbeck_bundle_free(bundles[a]);
            bundles[a] = NULL;
            limbeck_model_free(models[b]);
            models[b] = NULL;
            break;
        case 7:
            limbeck_cancel_free(cancel);
            cancel = NULL;
            status = limbeck_cancel_new(&cancel, &error);
            judge(status, cancel, error);
            break;
        case 8:
            limbeck_cancel_trigger(cancel);
            break;
        case 9:
            limbeck_slot_free(slot);
            status = limbeck_slot_new(models[a], &slot, &error);
            judge(status, slot, error);
            break;
        case 10:
            status = b ? limbeck_slot_publish(slot, models[a], NULL, &error) : limbeck_slot_roll_back(slot, NULL, &error);
            judge(status, status == LIMBECK_OK ? slot : NULL, error);
            break;
        case 11:
            limbeck_model_free(models[a]);
            status = limbeck_slot_model(slot, &models[a], &error);
            judge(status, models[a], error);
            break;
        case 12: {
            limbeck_pair examples[3];
            for (i = 0; i < 3; i++) examples[i].first = next_str(), examples[i].second = next_str();
            limbeck_head_free(head);
            status = limbeck_head_fit(models[a], examples, 3, 0, NULL, &head, &error);
            judge(status, head, error);
            break;
        }
        case 13:
            look(results[a], lengths[a]);
            break;
        case 14:
            CHECK(limbeck_model_self_test(models[a], NULL, NULL) != LIMBECK_INTERNAL);
            CHECK(limbeck_model_warm_up(models[a], NULL) != LIMBECK_INTERNAL);
            break;
        default: {
            /* A task; most often not the model's own. */
            limbeck_call_options options = next_options(cancel);
            limbeck_str texts[2];
            texts[0] = next_str();
            texts[1] = next_str();
            limbeck_result_free(results[a]);
            lengths[a] = texts[0].length > texts[1].length ? texts[0].length : texts[1].length;
            switch (next() % 9u) {
            case 0:
                status = limbeck_model_classify_batch(models[b], texts, 2, &options, &results[a], &error);
                break;
            case 1:
                status = limbeck_model_classify_pair(models[b], texts[0].data, texts[0].length, texts[1].data,
                                                     texts[1].length, &options, &results[a], &error);
                break;
            case 2:
                status = limbeck_model_tag_batch(models[b], texts, 2, &options, &results[a], &error);
                break;
            case 3:
                status = limbeck_model_answer(models[b], texts[0].data, texts[0].length, texts[1].data,
                                              texts[1].length, &options, &results[a], &error);
                break;
            case 4: {
                float vectors[4];
                status = limbeck_model_embed_batch(models[b], texts, 2, &options, vectors, 4, &results[a], &error);
                break;
            }
            case 5:
                status = limbeck_model_fill_mask_batch(models[b], texts, 2, &options, &results[a], &error);
                break;
            case 6:
                status = limbeck_model_zero_shot(models[b], texts[0].data, texts[0].length, &texts[1], 1, &options,
                                                 &results[a], &error);
                break;
            case 7:
                status = limbeck_model_rerank(models[b], texts[0].data, texts[0].length, texts, 2, &options,
                                              &results[a], &error);
                break;
            default:
                status = limbeck_head_classify(head, models[b], texts, 2, &options, &results[a], &error);
            }
            judge(status, results[a], error);
        }
        }
    }
    /* Freed in an order that the input chooses. */
    if (next() % 2) limbeck_slot_free(slot), slot = NULL;
    for (i = 0; i < SLOTS; i++) {
        limbeck_bundle_free(bundles[i]);
        limbeck_model_free(models[i]);
        limbeck_result_free(results[i]);
    }
    limbeck_slot_free(slot);
    limbeck_head_free(head);
    limbeck_cancel_free(cancel);
    return 0;
}

static void begin(char *bundle, const char *runtime) {
    size_t i;
    for (i = 0; i < 8; i++) paths[i] = beside(bundle, names[i]);
    env = open_env(runtime);
}

#ifdef LIMBECK_FUZZ
int LLVMFuzzerInitialize(int *argc, char ***argv);

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    CHECK(getenv("LIMBECK_FUZZ_BUNDLE") != NULL && getenv("LIMBECK_FUZZ_RUNTIME") != NULL);
    begin(getenv("LIMBECK_FUZZ_BUNDLE"), getenv("LIMBECK_FUZZ_RUNTIME"));
    return 0;
}
#else
/* xorshift64*, so that every machine runs the same sequences. */
static uint8_t random_byte(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (uint8_t)((*state * UINT64_C(2685821657736338717)) >> 56);
}

int main(int argc, char **argv) {
    static const char words[] = "good bad ada lovelace london who wrote it [MASK] \xF0\x9F\x99\x82 \xFF";
    uint8_t bytes[600];
    uint64_t state = 0x9E3779B97F4A7C15u;
    size_t i, j, round, rounds = argc > 3 ? 3 : 400;
    CHECK(argc >= 3);
    begin(argv[1], argv[2]);
    for (round = 0; round < rounds; round++) {
        for (i = 0; i < sizeof bytes; i++) bytes[i] = random_byte(&state);
        /* Words here and there, so that texts are not all invalid. */
        for (i = 0; i + 60 < sizeof bytes; i += 20u + random_byte(&state) % 64u)
            for (j = random_byte(&state) % 48u; j < 40 && words[j]; j++) bytes[i++] = (uint8_t)words[j];
        LLVMFuzzerTestOneInput(bytes, sizeof bytes);
    }
    for (i = 0; i < 8; i++) free(paths[i]);
    limbeck_env_free(env);
    return done();
}
#endif

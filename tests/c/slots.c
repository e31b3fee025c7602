/* Replacing a model under load: no call fails, and a bad candidate changes nothing. */

#include "check.h"

#include <pthread.h>

struct load {
    const limbeck_slot *slot;
    volatile int stop;
    long calls;
};

static void *work(void *argument) {
    struct load *load = (struct load *)argument;
    while (!load->stop) {
        limbeck_model *model = NULL;
        limbeck_result *result = NULL;
        OK(limbeck_slot_model(load->slot, &model, &error));
        OK(limbeck_model_classify(model, "good", 4, NULL, &result, &error));
        CHECK(is(score_of(result, 0, 0).label, "positive"));
        limbeck_result_free(result);
        limbeck_model_free(model);
        load->calls++;
    }
    return NULL;
}

static uint64_t build_in(const limbeck_slot *slot) {
    limbeck_model *model = NULL;
    limbeck_bundle *bundle = NULL;
    uint64_t build;
    OK(limbeck_slot_model(slot, &model, &error));
    OK(limbeck_model_bundle(model, &bundle, &error));
    build = limbeck_bundle_build(bundle);
    limbeck_bundle_free(bundle);
    limbeck_model_free(model);
    return build;
}

int main(int argc, char **argv) {
    limbeck_slot *slot = NULL;
    limbeck_model *model, *later, *entities, *failing;
    limbeck_model *held = NULL;
    uint64_t generation = 99;
    pthread_t threads[4];
    struct load loads[4];
    int i, rounds = argc > 3 ? 3 : 100;
    CHECK(argc >= 3);
    model = open_model(argv, 2);
    later = open_beside(argv, "later.limbeck");
    entities = open_beside(argv, "entities.limbeck");
    failing = open_beside(argv, "failing.limbeck");

    OK(limbeck_slot_new(model, &slot, &error));
    CHECK(limbeck_slot_generation(slot) == 1 && limbeck_slot_generation(NULL) == 0);
    FAILS(LIMBECK_INVALID_ARGUMENT, "no model to go back", limbeck_slot_roll_back(slot, &generation, &error));
    CHECK(generation == 0);
    limbeck_model_free(model); /* the slot holds it */
    CHECK(build_in(slot) == 7);

    for (i = 0; i < 4; i++) {
        loads[i].slot = slot;
        loads[i].stop = 0;
        loads[i].calls = 0;
        CHECK(pthread_create(&threads[i], NULL, work, &loads[i]) == 0);
    }
    OK(limbeck_slot_publish(slot, later, &generation, &error));
    CHECK(generation == 2 && build_in(slot) == 8);
    for (i = 0; i < rounds; i++) {
        OK(limbeck_slot_roll_back(slot, NULL, &error));
        CHECK(build_in(slot) == (i % 2 ? 8u : 7u));
        FAILS(LIMBECK_WRONG_TASK, "entities", limbeck_slot_publish(slot, entities, &generation, &error));
        FAILS(LIMBECK_SELF_TEST, "tiny", limbeck_slot_publish(slot, failing, &generation, &error));
    }
    /* All threads have run since. */
    for (i = 0; i < 4; i++) {
        loads[i].stop = 1;
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    if (argc == 3) CHECK(loads[0].calls + loads[1].calls + loads[2].calls + loads[3].calls > 0);

    OK(limbeck_slot_publish(slot, later, NULL, &error));
    {
        limbeck_model *older = open_model(argv, 0);
        FAILS(LIMBECK_ROLLBACK, "7", limbeck_slot_publish(slot, older, NULL, &error));
        limbeck_model_free(older);
    }
    OK(limbeck_slot_model(slot, &held, &error));
    limbeck_slot_forget_previous(slot);
    limbeck_slot_forget_previous(NULL);
    FAILS(LIMBECK_INVALID_ARGUMENT, "no model to go back", limbeck_slot_roll_back(slot, NULL, &error));
    limbeck_model_free(later);
    limbeck_slot_free(slot);
    limbeck_slot_free(NULL);
    /* A handle from the slot outlives it. */
    OK(limbeck_model_self_test(held, NULL, &error));
    limbeck_model_free(held);
    limbeck_model_free(entities);
    limbeck_model_free(failing);
    return done();
}

// The API without exceptions: compiled with -fno-exceptions -fno-rtti, beside another
// file that includes the header too, as programs have it.

#include <limbeck.hpp>

#include <cstdio>

int other();

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    auto env = limbeck::Env::try_open(argv[2]);
    if (!env) return std::puts(env.error().what()), 1;
    auto model = limbeck::Model::try_open(*env, argv[1]);
    if (!model) return std::puts(model.error().what()), 1;
    auto labels = model->try_classify("good");
    if (!labels || labels->front().label != "positive") return 1;
    auto wrong = model->try_tag("good");
    if (wrong || wrong.error().code() != LIMBECK_WRONG_TASK) return 1;
    auto slot = limbeck::Slot::try_make(*model);
    if (!slot || slot->generation() != 1) return 1;
    return other();
}

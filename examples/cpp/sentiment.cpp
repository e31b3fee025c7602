// Classifies texts with a bundle, and says how sure it is and how long it took.
//
//   sentiment BUNDLE ONNXRUNTIME_LIBRARY "text" ...
//
// With an installed library and limbeck.hpp on the include path:
//
//   c++ -std=c++17 sentiment.cpp $(pkg-config --cflags --libs limbeck) -o sentiment

#include <limbeck.hpp>

#include <cstdio>

int main(int argc, char **argv) try {
    if (argc < 4) {
        std::fprintf(stderr, "usage: %s BUNDLE ONNXRUNTIME_LIBRARY \"text\" ...\n", argv[0]);
        return 2;
    }
    const limbeck::Env env(argv[2]);
    const auto model = limbeck::Model::open(env, argv[1]);
    model.warm_up();
    for (int i = 3; i < argc; i++) {
        const auto labels = model.classify(argv[i]);
        const auto best = labels.front();
        const auto usage = labels.usage();
        const std::chrono::duration<double, std::milli> time = usage.tokenize + usage.inference + usage.post;
        std::printf("%.*s  %.3f  %2zu tokens  %.2f ms  %s\n", static_cast<int>(best.label.size()), best.label.data(),
                    static_cast<double>(best.probability), usage.tokens_used, time.count(), argv[i]);
    }
    return 0;
} catch (const limbeck::Error &error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}

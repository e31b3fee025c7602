// Serves texts from standard input while a newer model replaces the one in use: no call
// fails for it, and a candidate that is worse is refused.
//
//   hot_swap BUNDLE ONNXRUNTIME_LIBRARY NEWER_BUNDLE < texts
//
// One text a line; the newer bundle is tried after the first one. Built as sentiment.cpp says.

#include <limbeck.hpp>

#include <iostream>

int main(int argc, char **argv) try {
    if (argc != 4) {
        std::cerr << "usage: " << argv[0] << " BUNDLE ONNXRUNTIME_LIBRARY NEWER_BUNDLE < texts\n";
        return 2;
    }
    const limbeck::Env env(argv[2]);
    const limbeck::Slot slot(limbeck::Model::open(env, argv[1]));
    std::string line;
    for (bool first = true; std::getline(std::cin, line); first = false) {
        const auto labels = slot.model().classify(line); // on the model that is in use at this moment
        const auto best = labels.front();
        std::cout << "model " << slot.generation() << ": " << best.label << "  " << best.probability << "  " << line
                  << '\n';
        if (!first) continue;
        // A candidate that cannot be opened, does another task, is older, or fails its own
        // self-test is told, and the model in use stays.
        const auto candidate = limbeck::Model::try_open(env, argv[3]);
        if (!candidate) {
            std::cout << "not replaced: " << candidate.error().what() << '\n';
        } else if (const auto published = slot.try_publish(candidate.value()); !published) {
            std::cout << "not replaced: " << published.error().what() << '\n';
        }
    }
    return 0;
} catch (const limbeck::Error &error) {
    std::cerr << error.what() << '\n';
    return 1;
}

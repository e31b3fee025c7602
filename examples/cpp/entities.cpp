// Finds names in texts, and says where they stand.
//
//   entities BUNDLE ONNXRUNTIME_LIBRARY "text" ...
//
// For a bundle of the task "token-classification". Built as sentiment.cpp says.

#include <limbeck.hpp>

#include <iostream>

int main(int argc, char **argv) try {
    if (argc < 4) {
        std::cerr << "usage: " << argv[0] << " BUNDLE ONNXRUNTIME_LIBRARY \"text\" ...\n";
        return 2;
    }
    const limbeck::Env env(argv[2]);
    const auto model = limbeck::Model::open(env, argv[1]);
    for (int i = 3; i < argc; i++)
        for (const auto entity : model.tag(argv[i]))
            std::cout << entity.label << "  " << entity.score << "  bytes " << entity.span.byte_begin << " to "
                      << entity.span.byte_end << "  " << entity.text << '\n';
    return 0;
} catch (const limbeck::Error &error) {
    std::cerr << error.what() << '\n';
    return 1;
}

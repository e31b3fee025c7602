// Finds the text that is closest to the first one.
//
//   similarity BUNDLE ONNXRUNTIME_LIBRARY "query" "text" ...
//
// For a bundle of the task "sentence-embedding". Built as sentiment.cpp says.

#include <limbeck.hpp>

#include <iostream>

int main(int argc, char **argv) try {
    if (argc < 5) {
        std::cerr << "usage: " << argv[0] << " BUNDLE ONNXRUNTIME_LIBRARY \"query\" \"text\" ...\n";
        return 2;
    }
    const limbeck::Env env(argv[2]);
    const auto model = limbeck::Model::open(env, argv[1]);
    const auto query = model.embed(argv[3]);
    // The vectors go into memory of our own: a table that could also be a file.
    const std::vector<std::string_view> texts(argv + 4, argv + argc);
    std::vector<float> vectors(texts.size() * model.embedding_size());
    model.embed_into(texts, vectors.data(), vectors.size());
    for (const auto &found : limbeck::nearest(query, vectors, texts.size()))
        std::cout << found.similarity << "  " << texts[found.index] << '\n';
    return 0;
} catch (const limbeck::Error &error) {
    std::cerr << error.what() << '\n';
    return 1;
}

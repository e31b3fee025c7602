// Answers a question from a text of any length, and says where the answer stands.
//
//   answer BUNDLE ONNXRUNTIME_LIBRARY "question" "text"
//
// For a bundle of the task "question-answering". Built as sentiment.cpp says.

#include <limbeck.hpp>

#include <iostream>

int main(int argc, char **argv) try {
    if (argc != 5) {
        std::cerr << "usage: " << argv[0] << " BUNDLE ONNXRUNTIME_LIBRARY \"question\" \"text\"\n";
        return 2;
    }
    const limbeck::Env env(argv[2]);
    const auto model = limbeck::Model::open(env, argv[1]);
    // The three best; and no more than two seconds for a text that could be a book.
    limbeck::CallOptions options;
    options.top_k = 3;
    options.timeout = std::chrono::seconds(2);
    for (const auto answer : model.answer(argv[3], argv[4], options))
        std::cout << answer.score << "  bytes " << answer.span.byte_begin << " to " << answer.span.byte_end << "  "
                  << answer.text << '\n';
    return 0;
} catch (const limbeck::Error &error) {
    std::cerr << error.what() << '\n';
    return 1;
}

// Writes on from a prompt, and shows the text as it is written.
//
//   generate BUNDLE ONNXRUNTIME_LIBRARY "prompt"
//
// For a bundle of the task "generation". Built as sentiment.cpp says.

#include <limbeck.hpp>

#include <iomanip>
#include <iostream>

static const char *why(limbeck::Finish finish) {
    switch (finish) {
    case limbeck::Finish::end_of_text: return "end-of-text";
    case limbeck::Finish::stop: return "stop";
    case limbeck::Finish::length: return "length";
    case limbeck::Finish::context: return "context";
    default: return "unfinished";
    }
}

int main(int argc, char **argv) try {
    if (argc != 4) {
        std::cerr << "usage: " << argv[0] << " BUNDLE ONNXRUNTIME_LIBRARY \"prompt\"\n";
        return 2;
    }
    const limbeck::Env env(argv[2]);
    const auto model = limbeck::Model::open(env, argv[1]);
    // The likeliest token each time: set a temperature and a seed to draw. At the end of the
    // context the text ends, too.
    limbeck::GenerateOptions options;
    options.max_new_tokens = 200;
    options.context = limbeck::Context::stop;
    const auto texts = model.generate(argv[3], options, [](std::uint32_t, std::string_view text) {
        std::cout << text << std::flush; // whole characters; none with a token that is a part of one
        return true;                     // false ends the text here
    });
    const auto written = texts.front();
    const std::chrono::duration<double> time = written.prefill + written.decode + written.sampling;
    std::cout << '\n'
              << written.generated_tokens << " tokens, " << why(written.finish) << ", " << std::fixed
              << std::setprecision(1)
              << (time.count() > 0 ? static_cast<double>(written.generated_tokens) / time.count() : 0.0)
              << " tokens a second\n";
    return 0;
} catch (const limbeck::Error &error) {
    std::cerr << error.what() << '\n';
    return 1;
}

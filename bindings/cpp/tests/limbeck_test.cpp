// The C++ API, on bundles whose answers are worked out by hand (capi/tests/support/tiny.rs).
// LIMBECK_TEST_BUNDLES and LIMBECK_TEST_RUNTIME name their folder and ONNX Runtime.

#include <limbeck.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <fstream>
#include <numeric>
#include <optional>
#include <sstream>
#include <thread>

#include <fcntl.h>
#include <unistd.h>

namespace {

std::string setting(const char *name) {
    const char *value = std::getenv(name);
    if (!value) throw std::runtime_error(std::string(name) + " is not set");
    return value;
}

std::string at(const std::string &name) { return setting("LIMBECK_TEST_BUNDLES") + "/" + name + ".limbeck"; }

std::optional<limbeck::Env> opened;

const limbeck::Env &env() {
    if (!opened) opened.emplace(setting("LIMBECK_TEST_RUNTIME"));
    return *opened;
}

// After all tests: every handle was freed.
class NothingLeft : public testing::Environment {
    void TearDown() override {
        opened.reset();
        EXPECT_EQ(limbeck::open_handles(), 0u);
    }
};
const auto *const nothing_left = testing::AddGlobalTestEnvironment(new NothingLeft);

limbeck::Model open(const std::string &name) { return limbeck::Model::open(env(), at(name)); }

// The status of the error that a call throws.
template <class Call> limbeck_status thrown(Call &&call) {
    try {
        call();
    } catch (const limbeck::Error &error) {
        EXPECT_FALSE(error.message().empty());
        EXPECT_EQ(std::string(error.what()), std::string(error.name()) + ": " + std::string(error.message()));
        return error.code();
    }
    return LIMBECK_OK;
}

TEST(Errors, AreThrownOrHandedBack) {
    EXPECT_EQ(thrown([] { open("nothing"); }), LIMBECK_NOT_FOUND);
    const auto model = limbeck::Model::try_open(env(), at("nothing"));
    ASSERT_FALSE(model);
    EXPECT_EQ(model.error().code(), LIMBECK_NOT_FOUND);
    EXPECT_EQ(model.error().name(), "LIMBECK_NOT_FOUND");
    EXPECT_NE(model.error().message().find("nothing.limbeck"), std::string_view::npos);
    EXPECT_EQ(thrown([&] { model.value(); }), LIMBECK_NOT_FOUND);
    EXPECT_EQ(thrown([] { limbeck::Env("/no/such/library.so"); }), LIMBECK_RUNTIME_INCOMPATIBLE);
}

TEST(Environment, TellsItsRuntime) {
    EXPECT_EQ(limbeck::version(), LIMBECK_VERSION);
    EXPECT_EQ(env().runtime_version().substr(0, 2), "1.");
    EXPECT_FALSE(env().runtime_path().empty());
}

TEST(Bundle, TellsWhatItHolds) {
    const auto bundle = limbeck::Bundle::open(at("tiny"));
    EXPECT_EQ(bundle.id(), "tiny");
    EXPECT_EQ(bundle.version(), "0.1.0");
    EXPECT_EQ(bundle.task(), "text-classification");
    EXPECT_EQ(bundle.build(), 7u);
    EXPECT_EQ(bundle.max_tokens(), 64u);
    EXPECT_GT(bundle.size(), 1000u);
    EXPECT_EQ(bundle.labels(), (std::vector<std::string_view>{"negative", "positive"}));
    EXPECT_TRUE(bundle.signers().empty());
    EXPECT_NE(bundle.manifest_json().find("\"build\":7"), std::string_view::npos);
}

TEST(Bundle, ComesFromAnywhere) {
    std::ifstream file(at("tiny"), std::ios::binary);
    std::stringstream bytes;
    bytes << file.rdbuf();
    const std::string content = bytes.str();
    EXPECT_EQ(limbeck::Bundle::from_bytes(content.data(), content.size()).id(), "tiny");
    EXPECT_EQ(limbeck::Bundle::from_stream(bytes).id(), "tiny");
    std::istringstream cut(content.substr(0, 500));
    EXPECT_EQ(thrown([&] { limbeck::Bundle::from_stream(cut); }), LIMBECK_TRUNCATED);
    const int descriptor = ::open(at("tiny").c_str(), O_RDONLY);
    ASSERT_GE(descriptor, 0);
    const auto bundle = limbeck::Bundle::from_fd(descriptor);
    ::close(descriptor);
    auto model = limbeck::Model::open(env(), bundle);
    EXPECT_EQ(model.classify("good").front().label, "positive");
    EXPECT_EQ(model.bundle().id(), "tiny");
}

TEST(Bundle, IsTrustedByKeysBuildAndDecryption) {
    limbeck::BundleOptions options;
    options.keys = {"ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c"};
    const auto bundle = limbeck::Bundle::open(at("signed"), options);
    EXPECT_EQ(bundle.signers().size(), 1u);
    EXPECT_EQ(bundle.verify(*options.keys), 0u);
    EXPECT_EQ(thrown([&] { limbeck::Bundle::open(at("tiny"), options); }), LIMBECK_SIGNATURE);
    options.keys = std::vector<std::string>{};
    EXPECT_EQ(thrown([&] { limbeck::Bundle::open(at("signed"), options); }), LIMBECK_INVALID_ARGUMENT);
    limbeck::BundleOptions newer;
    newer.minimum_build = 8;
    EXPECT_EQ(thrown([&] { limbeck::Bundle::open(at("tiny"), newer); }), LIMBECK_ROLLBACK);

    limbeck::ModelOptions hidden;
    EXPECT_EQ(thrown([&] { limbeck::Model::open(env(), at("hidden"), hidden); }), LIMBECK_INCOMPATIBLE);
    int calls = 0;
    hidden.bundle.decrypt = [&](std::string_view, const std::uint8_t *stored, std::size_t length) {
        calls++;
        std::vector<std::uint8_t> content(stored, stored + length);
        for (auto &byte : content) byte ^= 0x5a;
        return std::optional(content);
    };
    EXPECT_EQ(limbeck::Model::open(env(), at("hidden"), hidden).classify("bad").front().label, "negative");
    EXPECT_EQ(calls, 2);
    hidden.bundle.decrypt = [](auto...) -> std::optional<std::vector<std::uint8_t>> { throw 1; };
    EXPECT_EQ(thrown([&] { limbeck::Model::open(env(), at("hidden"), hidden); }), LIMBECK_INCOMPATIBLE);
    hidden.bundle.decrypt = [](auto...) { return std::optional<std::vector<std::uint8_t>>(); };
    EXPECT_EQ(thrown([&] { limbeck::Model::open(env(), at("hidden"), hidden); }), LIMBECK_INCOMPATIBLE);
}

TEST(Classify, OneAndMany) {
    const auto model = open("tiny");
    model.warm_up();
    const auto labels = model.classify("good");
    ASSERT_EQ(labels.size(), 2u);
    EXPECT_EQ(labels[0].label, "positive");
    EXPECT_EQ(labels[0].index, 1u);
    EXPECT_NEAR(labels[0].logit, 8.0 / 3, 1e-5);
    EXPECT_TRUE(labels[0].holds && !labels[1].holds && labels.in_scope());
    EXPECT_EQ(labels.usage().tokens_used, 3u);
    EXPECT_GT(labels.usage().inference.count(), 0);
    float sum = 0;
    for (const auto label : labels) sum += label.probability;
    EXPECT_NEAR(sum, 1, 1e-5);
    EXPECT_NE(labels.json().find("\"label\":\"positive\""), std::string_view::npos);

    const std::vector<std::string> texts{"good", "bad", "\xF0\x9F\x99\x82"};
    const auto batch = model.classify_batch(texts);
    ASSERT_EQ(batch.size(), 3u);
    EXPECT_EQ(batch[1].front().label, "negative");
    EXPECT_NEAR(batch[0].front().logit, labels[0].logit, 1e-5);
    std::size_t seen = 0;
    for (const auto answer : batch) seen += answer.size();
    EXPECT_EQ(seen, 6u);
    EXPECT_TRUE(model.classify_batch(std::vector<std::string>{}).empty());
    EXPECT_EQ(model.classify_batch({"good", "bad"}).size(), 2u);
    EXPECT_EQ(thrown([&] { model.classify("\xFF"); }), LIMBECK_INVALID_UTF8);
    EXPECT_EQ(thrown([&] { labels[2]; }), LIMBECK_INVALID_ARGUMENT);
    EXPECT_EQ(thrown([&] { model.tag("x"); }), LIMBECK_WRONG_TASK);
}

TEST(Classify, TakesOptions) {
    const auto model = open("tiny");
    std::string text;
    for (int i = 0; i < 100; i++) text += "good ";
    limbeck::CallOptions options;
    options.top_k = 1;
    EXPECT_EQ(model.classify(text, options).size(), 1u);
    EXPECT_EQ(model.classify(text).usage().tokens_dropped, 38u);
    options.overflow = limbeck::Overflow::error;
    EXPECT_EQ(thrown([&] { model.classify(text, options); }), LIMBECK_TOO_LONG);
    options.overflow = limbeck::Overflow::window;
    options.window_stride = 16;
    EXPECT_GT(model.classify(text, options).usage().windows, 1u);
    options = {};
    options.hypothesis = "x";
    EXPECT_EQ(thrown([&] { model.classify(text, options); }), LIMBECK_INVALID_ARGUMENT);
    limbeck::Cancel cancel;
    options = {};
    options.cancel = &cancel;
    EXPECT_EQ(model.classify("good", options).size(), 2u);
    cancel.trigger();
    EXPECT_TRUE(cancel.is_triggered());
    EXPECT_EQ(thrown([&] { model.classify("good", options); }), LIMBECK_CANCELLED);
    options = {};
    options.timeout = std::chrono::hours(1);
    EXPECT_EQ(model.classify("good", options).size(), 2u);
}

TEST(Classify, LargeAndInvalidTexts) {
    const auto model = open("tiny");
    std::string text;
    for (int i = 0; i < 100000; i++) text += "film ";
    EXPECT_EQ(model.classify(text).usage().tokens_dropped, 100000u - 62);
    EXPECT_EQ(model.classify_batch(std::vector<std::string>(2000, "good")).size(), 2000u);
    // Overlong, half of a surrogate pair, past the last code point, cut short.
    for (const std::string wrong : {"\xC0\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "good \xF0\x9F\x99"}) {
        EXPECT_EQ(thrown([&] { model.classify(wrong); }), LIMBECK_INVALID_UTF8);
        EXPECT_EQ(thrown([&] { model.classify_batch({"good", wrong}); }), LIMBECK_INVALID_UTF8);
    }
    EXPECT_EQ(model.classify(std::string_view("good\0film", 9)).size(), 2u);
}

TEST(Classify, FromManyThreads) {
    limbeck::ModelOptions options;
    options.sessions = 2;
    const auto model = limbeck::Model::open(env(), at("tiny"), options);
    const limbeck::Cancel cancel;
    const std::vector<std::string> long_texts(20, std::string(1 << 20, 'a') + std::string(1 << 20, ' '));
    std::vector<std::thread> threads;
    std::atomic<int> cancelled{0};
    for (int turn = 0; turn < 6; turn++)
        threads.emplace_back([&, turn] {
            for (int i = 0; i < 100; i++) {
                const bool good = (i + turn) % 2 == 0;
                EXPECT_EQ(model.classify(good ? "good" : "bad film").front().label, good ? "positive" : "negative");
            }
        });
    threads.emplace_back([&] {
        limbeck::CallOptions call;
        call.overflow = limbeck::Overflow::window;
        call.cancel = &cancel;
        while (thrown([&] { model.classify_batch(long_texts, call); }) != LIMBECK_CANCELLED) {}
        cancelled++;
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    cancel.trigger();
    for (auto &thread : threads) thread.join();
    EXPECT_EQ(cancelled, 1);
}

TEST(Pairs, ZeroShotAndRanking) {
    const auto model = open("pairs");
    EXPECT_EQ(model.classify_pair("good", "good").front().label, "entailment");
    const auto pairs = model.classify_pairs({{"bad", "bad"}, {"good", "bad"}});
    EXPECT_EQ(pairs[0].front().label, "contradiction");
    EXPECT_NEAR(pairs[1].front().logit, 0, 1e-5);
    const auto labels = model.zero_shot("the film", {"bad", "good"});
    EXPECT_EQ(labels.front().label, "good");
    EXPECT_EQ(model.zero_shot_batch({"the film", "bad"}, {"bad", "good"}).size(), 2u);
    const std::vector<std::string_view> texts{"bad", "good", "film"};
    const auto ranked = model.rerank("the film", texts);
    ASSERT_EQ(ranked.size(), 3u);
    EXPECT_EQ(ranked[0].front().index, 1u);
    EXPECT_EQ(ranked[2].front().index, 0u);
}

TEST(Entities, HavePlaces) {
    const std::string text = "\xF0\x9F\x99\x82 Ada Lovelace wrote it, London";
    const auto model = open("entities");
    const auto entities = model.tag(text);
    ASSERT_EQ(entities.size(), 2u);
    const auto ada = entities.front();
    EXPECT_EQ(ada.label, "PER");
    EXPECT_EQ(ada.text, text.substr(ada.span.byte_begin, ada.span.byte_end - ada.span.byte_begin));
    EXPECT_EQ(ada.span.utf16_begin, 3u);
    EXPECT_EQ(ada.span.char_begin, 2u);
    limbeck::CallOptions options;
    options.aggregation = limbeck::Aggregation::none;
    EXPECT_EQ(model.tag_batch({text, std::string_view("x")}, options)[0].size(), 3u);
}

TEST(Answers, HavePlaces) {
    const auto model = open("reader");
    const auto answers = model.answer("Who wrote it?", "It: Ada Lovelace wrote it.");
    ASSERT_EQ(answers.size(), 1u);
    EXPECT_EQ(answers.front().text, "Ada Lovelace");
    EXPECT_EQ(answers.front().span.byte_begin, 4u);
    EXPECT_LT(answers.no_answer(), 0.1f);
    EXPECT_EQ(model.answer_batch({{"Who?", "ada lovelace"}, {"Who?", "the"}}).size(), 2u);
}

TEST(Embeddings, AsViewsAndInBuffers) {
    const auto model = open("embedder");
    ASSERT_EQ(model.embedding_size(), 2u);
    const auto good = model.embed("good");
    ASSERT_EQ(good.size(), 2u);
    EXPECT_NEAR(good[0], -0.70710678, 1e-5);
    EXPECT_NEAR(std::inner_product(good.begin(), good.end(), good.begin(), 0.0f), 1, 1e-5);
    EXPECT_EQ(good.usage().tokens_used, 3u);
    const auto batch = model.embed_batch({"bad", "good film", "film \xF0\x9F\x99\x82"});
    EXPECT_NEAR(limbeck::similarity(good, batch[0]), -1, 1e-5);
    std::vector<float> all(6);
    model.embed_into({"bad", "good film", "film \xF0\x9F\x99\x82"}, all.data(), all.size());
    EXPECT_TRUE(std::equal(batch[1].begin(), batch[1].end(), all.begin() + 2));
    const auto nearest = limbeck::nearest(good, all, 2);
    ASSERT_EQ(nearest.size(), 2u);
    EXPECT_NE(nearest[0].index, 0u);
    EXPECT_GE(nearest[0].similarity, nearest[1].similarity);
    EXPECT_EQ(thrown([&] { model.embed_into({"a", "b"}, all.data(), 3); }), LIMBECK_INVALID_ARGUMENT);
    EXPECT_EQ(thrown([&] { limbeck::nearest(good, {all.data(), 5}, 2); }), LIMBECK_INVALID_ARGUMENT);
}

TEST(Masks, AreGuessed) {
    const auto model = open("masks");
    ASSERT_EQ(model.mask_token(), "[MASK]");
    const auto guesses = model.fill_mask("the [MASK] film");
    ASSERT_EQ(guesses.size(), 5u);
    EXPECT_EQ(guesses.front().text, "good");
    EXPECT_EQ(guesses.front().span.byte_begin, 4u);
    EXPECT_EQ(model.fill_mask_batch({"[MASK]", "[MASK] [MASK]"})[1].size(), 10u);
}

TEST(Orders, OfPairs) {
    const auto model = open("order");
    EXPECT_NEAR(model.order("who wrote", "London").front().logit, 14.0 / 6, 1e-5);
    limbeck::CallOptions options;
    options.both_orders = true;
    const auto orders = model.order_batch({{"who", "London"}, {"London", "who"}}, options);
    ASSERT_EQ(orders.size(), 2u);
    EXPECT_NEAR(orders[0].front().probability + orders[1].front().probability, 1, 1e-5);
    EXPECT_GT(orders[0].front().probability, 0.8f);
    EXPECT_EQ(thrown([&] { model.classify_pair("a", "b"); }), LIMBECK_WRONG_TASK);
}

TEST(ReplacedTokens, HavePlaces) {
    const std::string text = "\xF0\x9F\x99\x82 the flim";
    const auto model = open("replaced");
    const auto words = model.replaced(text);
    ASSERT_EQ(words.size(), 1u);
    EXPECT_EQ(words.front().text, "flim");
    EXPECT_EQ(words.front().span.byte_begin, 9u);
    EXPECT_EQ(words.front().span.utf16_begin, 7u);
    EXPECT_GT(words.front().probability, 0.9f);
    const auto tokens = words.tokens();
    ASSERT_EQ(tokens.size(), 3u);
    EXPECT_EQ(tokens[1].text, "the");
    EXPECT_LT(tokens[1].probability, 0.1f);
    limbeck::CallOptions options;
    options.aggregation = limbeck::Aggregation::none;
    const auto runs = model.replaced_batch({"x y", "the"}, options);
    EXPECT_EQ(runs[0].front().text, "x y");
    EXPECT_TRUE(runs[1].empty());
}

TEST(Writer, WritesAndScores) {
    const auto model = open("writer");
    limbeck::GenerateOptions options;
    options.max_new_tokens = 15;
    options.stops = {".ab.", "never"};
    std::string streamed;
    const auto written = model.generate("a", options, [&](std::uint32_t, std::string_view text) {
        streamed += text;
        return true;
    });
    EXPECT_EQ(written.size(), 1u);
    EXPECT_EQ(written.front().text, "b\xF0\x9F\x99\x82.ab\xF0\x9F\x99\x82.ab");
    EXPECT_EQ(streamed, written.front().text);
    EXPECT_EQ(written.front().finish, limbeck::Finish::length);
    EXPECT_EQ(written.front().ids[0], std::uint32_t{'b'});
    EXPECT_NE(written.json().find("prefill_ms"), std::string_view::npos);
    const auto ended = model.generate("a", options, [](std::uint32_t, std::string_view) { return false; });
    EXPECT_EQ(ended.front().finish, limbeck::Finish::unfinished);
    EXPECT_THROW(model.generate("a", options, [](std::uint32_t, std::string_view) -> bool { throw 7; }), int);
    const auto batch = model.generate_batch({"wait a", "end\n"}, options);
    EXPECT_EQ(batch[1].finish, limbeck::Finish::end_of_text);
    EXPECT_EQ(batch[0].text, written.front().text);
    options.max_new_tokens = 100;
    EXPECT_EQ(thrown([&] { model.generate("a", options); }), LIMBECK_TOO_LONG);
    options.context = limbeck::Context::slide;
    EXPECT_GT(model.generate("a", options).front().tokens_dropped, 0u);

    limbeck::Prompt prompt;
    prompt.query = "Q: a";
    prompt.examples = {{"Q: a", "b"}};
    const auto choices = model.choose(prompt, {"x", "b"});
    ASSERT_EQ(choices.size(), 2u);
    EXPECT_EQ(choices.front().index, 1u);
    EXPECT_EQ(choices.usage().examples, 1u);
    // Two line ends, unless there is a separator; an empty one is one, as is a view of nothing.
    EXPECT_EQ(choices.usage().prompt_tokens, 11u);
    for (const std::string_view none : {std::string_view(""), std::string_view()}) {
        prompt.separator = none;
        EXPECT_EQ(model.choose(prompt, {"b"}).usage().prompt_tokens, 9u);
    }
    prompt.separator = std::nullopt;
    EXPECT_EQ(model.choose(prompt, {"b"}).usage().prompt_tokens, 11u);
    EXPECT_NEAR(model.score(prompt, "b").log_probability, -1.0024370, 1e-5);
    EXPECT_NEAR(model.perplexity("ab").perplexity, 2.7249144, 1e-5);
    limbeck::PerplexityOptions reading;
    reading.from_start = true;
    EXPECT_EQ(model.perplexity("ab", reading).tokens, 2u);
    reading.stride = 64;
    EXPECT_EQ(thrown([&] { model.perplexity("ab", reading); }), LIMBECK_INVALID_ARGUMENT);
    options = {};
    options.max_new_tokens = 6;
    streamed.clear();
    const auto from = model.generate(prompt, options, [&](std::uint32_t, std::string_view text) {
        streamed += text;
        return true;
    });
    EXPECT_EQ(from.front().text, "b\xF0\x9F\x99\x82.");
    EXPECT_EQ(streamed, from.front().text);
    EXPECT_EQ(from.usage().examples, 1u);
    EXPECT_GT(from.usage().cached_tokens, 0u);
    EXPECT_THROW(model.generate(prompt, options, [](std::uint32_t, std::string_view) -> bool { throw 7; }), int);
    EXPECT_EQ(thrown([&] { batch.usage(); }), LIMBECK_INVALID_ARGUMENT);
    options.max_new_tokens = 55;
    EXPECT_EQ(model.generate(prompt, options).usage().examples_dropped, 1u);
    prompt.all_examples = true;
    EXPECT_EQ(thrown([&] { model.generate(prompt, options); }), LIMBECK_TOO_LONG);
    prompt.all_examples = false;
    limbeck::ChooseOptions by;
    by.scoring = limbeck::Scoring::answer_context;
    by.answer_context = "c";
    EXPECT_NEAR(model.choose(prompt, {"b"}, by).front().score, 5.5490761 - 1.0024370, 1e-4);
    EXPECT_EQ(thrown([] { open("tiny").generate("a"); }), LIMBECK_WRONG_TASK);
}

TEST(Head, IsFittedSavedAndLoaded) {
    const auto model = open("embedder");
    const auto head = limbeck::Head::fit(model, {{"good", "praise"}, {"bad", "blame"}});
    EXPECT_EQ(head.labels(), (std::vector<std::string_view>{"praise", "blame"}));
    EXPECT_EQ(head.classify(model, {"the bad film"})[0].front().label, "blame");
    const std::string path = setting("LIMBECK_TEST_BUNDLES") + "/head-" + std::to_string(::getpid());
    head.save(path);
    const auto again = limbeck::Head::load(path);
    std::remove(path.c_str());
    EXPECT_EQ(again.classify(model, {"good"})[0].front().logit, head.classify(model, {"good"})[0].front().logit);
    EXPECT_EQ(thrown([&] { limbeck::Head::load(path); }), LIMBECK_NOT_FOUND);
}

TEST(Slot, ReplacesUnderLoad) {
    const limbeck::Slot slot(open("tiny"));
    std::atomic<bool> stop{false};
    std::atomic<long> calls{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; i++)
        threads.emplace_back([&] {
            while (!stop) {
                EXPECT_EQ(slot.model().classify("good").front().label, "positive");
                calls++;
            }
        });
    EXPECT_EQ(slot.publish(open("later")), 2u);
    EXPECT_EQ(thrown([&] { slot.publish(open("tiny")); }), LIMBECK_ROLLBACK);
    EXPECT_EQ(thrown([&] { slot.publish(open("failing")); }), LIMBECK_SELF_TEST);
    for (int i = 0; i < 50; i++) slot.roll_back();
    while (calls < 20) std::this_thread::yield();
    stop = true;
    for (auto &thread : threads) thread.join();
    slot.forget_previous();
    EXPECT_EQ(thrown([&] { slot.roll_back(); }), LIMBECK_INVALID_ARGUMENT);
    EXPECT_EQ(slot.generation(), 52u);
}

TEST(Model, TellsOfItself) {
    limbeck::ModelOptions options;
    options.sessions = 2;
    options.providers = {"cuda", "cpu"};
    const auto model = limbeck::Model::open(env(), at("tiny"), options);
    EXPECT_EQ(model.self_test().vectors, 1u);
    EXPECT_EQ(model.memory().sessions, 2u);
    EXPECT_EQ(model.count_tokens("the good film"), 5u);
    EXPECT_NE(model.providers_json().find("\"requested\":[\"cuda\",\"cpu\"]"), std::string_view::npos);
    const auto before = model.metrics().calls;
    model.classify("good");
    EXPECT_EQ(model.metrics().calls, before + 1);
    options.providers = {"gpu"};
    EXPECT_EQ(thrown([&] { limbeck::Model::open(env(), at("tiny"), options); }), LIMBECK_INVALID_ARGUMENT);
}

TEST(Model, MovesAndOutlivesWhatItCameFrom) {
    std::optional<limbeck::Result<limbeck::Score>> kept;
    {
        auto first = open("tiny");
        auto model = std::move(first);
        kept = model.classify("good");
    }
    EXPECT_EQ(kept->front().label, "positive");
}

TEST(Logger, GetsMessagesUntilItIsReplaced) {
    std::atomic<int> messages{0};
    limbeck::set_logger(limbeck::LogLevel::warning, [&](limbeck::LogLevel level, std::string_view message) {
        EXPECT_GE(level, limbeck::LogLevel::warning);
        if (message.find("qnn") != std::string_view::npos) messages++;
        throw std::runtime_error("dropped");
    });
    limbeck::ModelOptions options;
    options.providers = {"qnn"};
    limbeck::Model::open(env(), at("tiny"), options);
    EXPECT_GE(messages, 1);
    limbeck::set_logger(limbeck::LogLevel::warning, {});
    const int before = messages;
    limbeck::Model::open(env(), at("tiny"), options);
    EXPECT_EQ(messages, before);
}

} // namespace

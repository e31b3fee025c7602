// Runs the cases of tests/conformance through the C++ API: conformance FOLDER ONNXRUNTIME
// Prints what differs, and at the end how many cases were run and left out.

#include <limbeck.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>

namespace {

using json = nlohmann::ordered_json;

std::string folder;
const limbeck::Env *env = nullptr;

// ---- what goes in

std::string text(const json &value) {
    if (value.is_string()) return value;
    std::string text;
    if (value.contains("utf8")) {
        const std::string hex = value["utf8"];
        for (std::size_t i = 0; i < hex.size(); i += 2)
            text.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
        return text;
    }
    const std::string piece = value["repeat"];
    for (std::size_t i = value["times"]; i > 0; i--) text += piece;
    return text;
}

std::vector<std::string> texts(const json &values) {
    std::vector<std::string> all;
    for (const auto &value : values) all.push_back(text(value));
    return all;
}

std::vector<std::pair<std::string, std::string>> pairs(const json &values) {
    std::vector<std::pair<std::string, std::string>> all;
    for (const auto &value : values) all.emplace_back(text(value[0]), text(value[1]));
    return all;
}

// The options of a case, and what they refer to.
struct Options {
    explicit Options(const json &from) {
        const std::map<std::string, limbeck::Overflow> overflows = {{"truncate", limbeck::Overflow::truncate},
                                                                    {"error", limbeck::Overflow::error},
                                                                    {"window", limbeck::Overflow::window}};
        const std::map<std::string, limbeck::Aggregation> aggregations = {{"first", limbeck::Aggregation::first},
                                                                          {"average", limbeck::Aggregation::average},
                                                                          {"max", limbeck::Aggregation::max},
                                                                          {"strict", limbeck::Aggregation::strict},
                                                                          {"none", limbeck::Aggregation::none}};
        for (const auto &[name, value] : from.items()) {
            if (name == "overflow") all.overflow = overflows.at(value);
            else if (name == "window_stride") all.window_stride = value;
            else if (name == "deadline_ms") all.timeout = std::chrono::milliseconds(value.get<std::int64_t>());
            else if (name == "top_k") all.top_k = value;
            else if (name == "threshold") all.threshold = value;
            else if (name == "out_of_scope") all.out_of_scope = value;
            else if (name == "aggregation") all.aggregation = aggregations.at(value);
            else if (name == "multi_label") all.multi_label = value;
            else if (name == "max_answer_tokens") all.max_answer_tokens = value;
            else if (name == "hypothesis") all.hypothesis = hypothesis = value;
            else if (name == "rank_label") all.rank_label = rank_label = value;
            else if (name == "both_orders") all.both_orders = value;
            else if (name == "cancelled") {
                all.cancel = &cancel;
                if (value.get<bool>()) cancel.trigger();
            } else throw std::runtime_error("unknown option " + name);
        }
    }
    Options(const Options &) = delete;
    Options &operator=(const Options &) = delete;

    limbeck::CallOptions all;

private:
    limbeck::Cancel cancel;
    std::string hypothesis, rank_label;
};

// The options of a case for a model that writes text: those of its call, and the limits of all.
struct WritingOptions {
    explicit WritingOptions(const json &from) {
        const std::map<std::string, limbeck::Context> contexts = {{"error", limbeck::Context::error},
                                                                  {"stop", limbeck::Context::stop},
                                                                  {"slide", limbeck::Context::slide}};
        const std::map<std::string, limbeck::Scoring> scorings = {
            {"per_token", limbeck::Scoring::per_token},
            {"sum", limbeck::Scoring::sum},
            {"per_byte", limbeck::Scoring::per_byte},
            {"answer_context", limbeck::Scoring::answer_context}};
        for (const auto &[name, value] : from.items()) {
            if (name == "max_new_tokens") generate.max_new_tokens = value;
            else if (name == "temperature") generate.temperature = value;
            else if (name == "top_p") generate.top_p = value;
            else if (name == "top_k") generate.top_k = value;
            else if (name == "seed") generate.seed = value;
            else if (name == "repetition_penalty") generate.repetition_penalty = value;
            else if (name == "ignore_eos") generate.ignore_eos = value;
            else if (name == "stops") generate.stops = stops = texts(value);
            else if (name == "context") generate.context = contexts.at(value);
            else if (name == "context_keep") generate.context_keep = value;
            else if (name == "scoring") choose.scoring = scorings.at(value);
            else if (name == "answer_context") choose.answer_context = answer_context = text(value);
            else if (name == "content_free") choose.content_free = content_free = texts(value);
            else if (name == "stride") perplexity.stride = value;
            else if (name == "from_start") perplexity.from_start = value;
            else if (name == "deadline_ms")
                generate.timeout = choose.timeout = perplexity.timeout =
                    std::chrono::milliseconds(value.get<std::int64_t>());
            else if (name == "cancelled") {
                generate.cancel = choose.cancel = perplexity.cancel = &cancel;
                if (value.get<bool>()) cancel.trigger();
            } else throw std::runtime_error("unknown option " + name);
        }
    }
    WritingOptions(const WritingOptions &) = delete;
    WritingOptions &operator=(const WritingOptions &) = delete;

    limbeck::GenerateOptions generate;
    limbeck::ChooseOptions choose;
    limbeck::PerplexityOptions perplexity;

private:
    limbeck::Cancel cancel;
    std::vector<std::string> stops, content_free;
    std::string answer_context;
};

// A prompt, and what it refers to.
struct Prompt {
    explicit Prompt(const json &from) {
        for (const auto &[name, value] : from.items()) {
            if (name == "query") all.query = query = text(value);
            else if (name == "examples") all.examples = examples = pairs(value);
            else if (name == "instruction") all.instruction = instruction = text(value);
            else if (name == "separator") all.separator = separator = text(value);
            else if (name == "max_tokens") all.max_tokens = value;
            else if (name == "all_examples") all.all_examples = value;
            else throw std::runtime_error("unknown in a prompt: " + name);
        }
    }
    Prompt(const Prompt &) = delete;
    Prompt &operator=(const Prompt &) = delete;

    limbeck::Prompt all;

private:
    std::vector<std::pair<std::string, std::string>> examples;
    std::string query, instruction, separator;
};

// ---- what comes out, in the form of limbeck_result_json

json span(const limbeck::Span &span) {
    return {{"bytes", {span.byte_begin, span.byte_end}},
            {"utf16", {span.utf16_begin, span.utf16_end}},
            {"chars", {span.char_begin, span.char_end}}};
}

template <class Items> json with_usage(json answer, const Items &items) {
    const auto usage = items.usage();
    answer["tokens_used"] = usage.tokens_used;
    answer["tokens_dropped"] = usage.tokens_dropped;
    answer["windows"] = usage.windows;
    return answer;
}

json classification(const limbeck::Items<limbeck::Score> &items) {
    json labels = json::array();
    for (const auto &score : items)
        labels.push_back({{"label", score.label},
                          {"index", score.index},
                          {"probability", score.probability},
                          {"logit", score.logit},
                          {"holds", score.holds}});
    return with_usage({{"labels", labels}, {"in_scope", items.in_scope()}}, items);
}

json zero_shot(const limbeck::Items<limbeck::Score> &items) {
    json labels = json::array();
    for (const auto &score : items)
        labels.push_back({{"label", score.label}, {"index", score.index}, {"probability", score.probability}});
    return with_usage({{"labels", labels}}, items);
}

json ranked(const limbeck::Items<limbeck::Score> &items) {
    return with_usage({{"index", items.front().index}, {"score", items.front().probability}}, items);
}

json tagging(const limbeck::Items<limbeck::Entity> &items) {
    json entities = json::array();
    for (const auto &entity : items)
        entities.push_back({{"label", entity.label},
                            {"score", entity.score},
                            {"span", span(entity.span)},
                            {"text", entity.text}});
    return with_usage({{"entities", entities}}, items);
}

json answers(const limbeck::Items<limbeck::Answer> &items) {
    json answers = json::array();
    for (const auto &answer : items)
        answers.push_back({{"text", answer.text}, {"span", span(answer.span)}, {"score", answer.score}});
    return with_usage({{"answers", answers}, {"no_answer", items.no_answer()}}, items);
}

json embedding(const limbeck::Items<float> &items) {
    return with_usage({{"vector", std::vector<float>(items.begin(), items.end())}}, items);
}

json filled(const limbeck::Items<limbeck::Guess> &items) {
    json masks = json::array();
    for (const auto &guess : items) {
        if (guess.mask == masks.size()) masks.push_back({{"span", span(guess.span)}, {"guesses", json::array()}});
        masks[guess.mask]["guesses"].push_back({{"text", guess.text},
                                                {"token", guess.token},
                                                {"id", guess.id},
                                                {"probability", guess.probability}});
    }
    return with_usage({{"masks", masks}}, items);
}

json written(const limbeck::Generations &generations) {
    const std::map<limbeck::Finish, std::string> finishes = {{limbeck::Finish::unfinished, "unfinished"},
                                                             {limbeck::Finish::end_of_text, "end-of-text"},
                                                             {limbeck::Finish::stop, "stop"},
                                                             {limbeck::Finish::length, "length"},
                                                             {limbeck::Finish::context, "context"}};
    json results = json::array();
    for (const auto &generation : generations)
        results.push_back(
            {{"text", generation.text},
             {"ids", std::vector<std::uint32_t>(generation.ids, generation.ids + generation.generated_tokens)},
             {"finish", finishes.at(generation.finish)},
             {"prompt_tokens", generation.prompt_tokens},
             {"generated_tokens", generation.generated_tokens},
             {"tokens_dropped", generation.tokens_dropped}});
    return {{"results", results}};
}

json usage(const limbeck::PromptUsage &usage) {
    return {{"prompt_tokens", usage.prompt_tokens},
            {"examples", usage.examples},
            {"examples_dropped", usage.examples_dropped}};
}

json ordered(const limbeck::Items<limbeck::Order> &items) {
    const auto order = items.front();
    return with_usage({{"probability", order.probability}, {"logit", order.logit}}, items);
}

json pieces(const std::vector<limbeck::Replaced> &found) {
    json all = json::array();
    for (const auto &piece : found)
        all.push_back({{"probability", piece.probability}, {"span", span(piece.span)}, {"text", piece.text}});
    return all;
}

json replacements(const limbeck::Items<limbeck::Replaced> &items) {
    const std::vector<limbeck::Replaced> spans(items.begin(), items.end());
    return with_usage({{"spans", pieces(spans)}, {"tokens", pieces(items.tokens())}}, items);
}

template <class Item, class Form> json one(const limbeck::Result<Item> &result, Form form) {
    return {{"results", json::array({form(result)})}};
}

template <class Item, class Form> json all(const limbeck::Batch<Item> &batch, Form form) {
    json results = json::array();
    for (const auto &items : batch) results.push_back(form(items));
    return {{"results", results}};
}

json error(const limbeck::Error &error) { return {{"status", error.name()}, {"message", error.message()}}; }

// ---- the calls

std::map<std::string, limbeck::Model> models;

const limbeck::Model &model(const json &bundle) {
    const std::string name = bundle;
    auto found = models.find(name);
    if (found == models.end())
        found = models.emplace(name, limbeck::Model::open(*env, folder + "/" + name)).first;
    return found->second;
}

json open(const json &test) {
    const json &input = test["input"];
    limbeck::BundleOptions options;
    if (input.contains("keys")) options.keys = input["keys"].get<std::vector<std::string>>();
    if (input.contains("minimum_build")) options.minimum_build = input["minimum_build"];
    if (input.contains("decrypt_xor"))
        options.decrypt = [key = input["decrypt_xor"].get<int>()](std::string_view, const std::uint8_t *stored,
                                                                  std::size_t length) {
            std::vector<std::uint8_t> content(stored, stored + length);
            for (auto &byte : content) byte = static_cast<std::uint8_t>(byte ^ key);
            return content;
        };
    const std::string path = folder + "/" + test["bundle"].get<std::string>();
    const auto bundle = [&] {
        if (!input.contains("damage")) return limbeck::Bundle::open(path, options);
        std::ifstream file(path, std::ios::binary);
        std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
        const json &damage = input["damage"];
        if (damage.contains("cut")) bytes.resize(damage["cut"]);
        if (damage.contains("flip")) bytes[damage["flip"]] = static_cast<char>(bytes[damage["flip"]] ^ 1);
        if (damage.contains("replace")) bytes = damage["replace"];
        return limbeck::Bundle::from_bytes(bytes.data(), bytes.size(), options);
    }();
    return {{"bundle",
             {{"id", bundle.id()},
              {"version", bundle.version()},
              {"build", bundle.build()},
              {"task", bundle.task()},
              {"max_tokens", bundle.max_tokens()},
              {"size", bundle.size()},
              {"labels", bundle.labels()},
              {"signers", bundle.signers()}}}};
}

json slot(const json &test) {
    const limbeck::Slot slot(model(test["bundle"]));
    json steps = json::array();
    for (const auto &step : test["input"]["steps"]) {
        json found = json::object();
        try {
            if (step.contains("publish")) slot.publish(model(step["publish"]));
            else if (step["do"] == "roll_back") slot.roll_back();
            else if (step["do"] == "forget_previous") slot.forget_previous();
        } catch (const limbeck::Error &failure) {
            found["error"] = error(failure);
        }
        found["generation"] = slot.generation();
        found["build"] = slot.model().bundle().build();
        steps.push_back(found);
    }
    return {{"steps", steps}};
}

json head(const json &test) {
    const json &input = test["input"];
    const Options options(test.value("options", json::object()));
    const auto &embedder = model(test["bundle"]);
    const std::string path = (std::filesystem::temp_directory_path() / "limbeck-conformance-head.json").string();
    limbeck::Head::fit(embedder, pairs(input["examples"]), input.value("strength", 0.0)).save(path);
    const auto head = limbeck::Head::load(path);
    std::filesystem::remove(path);
    const auto &on = input.contains("on") ? model(input["on"]) : embedder;
    json found = all(head.classify(on, texts(input["texts"]), options.all), classification);
    found["labels"] = head.labels();
    return found;
}

json generate(const limbeck::Model &m, const json &input, const limbeck::GenerateOptions &options) {
    if (input.contains("prompts")) return written(m.generate_batch(texts(input["prompts"]), options));
    const std::size_t limit = input.value("stop_after", std::size_t{0});
    std::vector<std::uint32_t> ids;
    std::string streamed;
    limbeck::TokenFunction function;
    if (input.value("stream", false) || limit > 0)
        function = [&](std::uint32_t id, std::string_view text) {
            ids.push_back(id);
            streamed += text;
            return ids.size() != limit;
        };
    const auto checked = [&](const limbeck::Generations &generations) {
        json found = written(generations);
        const json &result = found["results"][0];
        if (function && (result["text"] != streamed || result["ids"] != json(ids))) found["streamed"] = streamed;
        return found;
    };
    if (!input.contains("from")) return checked(m.generate(text(input["prompt"]), options, function));
    const Prompt prompt(input["from"]);
    const auto generations = m.generate(prompt.all, options, function);
    json found = checked(generations);
    found["usage"] = usage(generations.usage());
    return found;
}

// The calls of models that write text.
json write(const json &test) {
    const std::string call = test["call"];
    const json &input = test["input"];
    const WritingOptions options(test.value("options", json::object()));
    const auto &m = model(test["bundle"]);
    if (call == "generate") return generate(m, input, options.generate);
    if (call == "perplexity") {
        const auto found = m.perplexity(text(input["text"]), options.perplexity);
        return {{"perplexity",
                 {{"perplexity", found.perplexity},
                  {"bits_per_byte", found.bits_per_byte},
                  {"log_probability", found.log_probability},
                  {"tokens", found.tokens},
                  {"bytes", found.bytes},
                  {"windows", found.windows}}}};
    }
    const Prompt prompt(input["from"]);
    const auto likelihood = [](const limbeck::Choice &choice) -> json {
        return {{"score", choice.score},
                {"log_probability", choice.log_probability},
                {"tokens", choice.tokens},
                {"bytes", choice.bytes}};
    };
    if (call == "score")
        return {{"choice", likelihood(m.score(prompt.all, text(input["completion"]), options.choose))}};
    const auto found = m.choose(prompt.all, texts(input["completions"]), options.choose);
    json choices = json::array();
    for (const auto &choice : found) {
        json one = likelihood(choice);
        one["text"] = std::string(choice.text.data, choice.text.length);
        one["index"] = choice.index;
        one["probability"] = choice.probability;
        choices.push_back(one);
    }
    return {{"choices", choices}, {"usage", usage(found.usage())}};
}

json run(const json &test) {
    const std::string call = test["call"];
    if (call == "generate" || call == "choose" || call == "score" || call == "perplexity") return write(test);
    const json &input = test["input"];
    const Options given(test.value("options", json::object()));
    const auto &options = given.all;
    if (call == "open") return open(test);
    if (call == "slot") return slot(test);
    if (call == "head") return head(test);
    if (call == "similarity") {
        const std::vector<float> first = input["first"], second = input["second"];
        return {{"similarity", limbeck::similarity(first, second)}};
    }
    if (call == "nearest") {
        const std::vector<float> query = input["query"];
        std::vector<float> vectors;
        for (const auto &vector : input["vectors"])
            for (const float value : vector) vectors.push_back(value);
        json nearest = json::array();
        for (const auto &found : limbeck::nearest(query, vectors, input["k"]))
            nearest.push_back({{"index", found.index}, {"similarity", found.similarity}});
        return {{"nearest", nearest}};
    }
    const auto &m = model(test["bundle"]);
    const bool single = input.contains("text");
    const auto in = [&](const char *name) { return text(input[name]); };
    if (call == "classify") {
        if (single) return one(m.classify(in("text"), options), classification);
        if (input.contains("pair"))
            return one(m.classify_pair(text(input["pair"][0]), text(input["pair"][1]), options), classification);
        if (input.contains("pairs")) return all(m.classify_pairs(pairs(input["pairs"]), options), classification);
        return all(m.classify_batch(texts(input["texts"]), options), classification);
    }
    if (call == "zero_shot") {
        const auto labels = texts(input["labels"]);
        if (single) return one(m.zero_shot(in("text"), labels, options), zero_shot);
        return all(m.zero_shot_batch(texts(input["texts"]), labels, options), zero_shot);
    }
    if (call == "rerank") return all(m.rerank(in("query"), texts(input["texts"]), options), ranked);
    if (call == "tag") {
        if (single) return one(m.tag(in("text"), options), tagging);
        return all(m.tag_batch(texts(input["texts"]), options), tagging);
    }
    if (call == "answer") {
        if (single) return one(m.answer(in("question"), in("text"), options), answers);
        return all(m.answer_batch(pairs(input["questions"]), options), answers);
    }
    if (call == "embed") {
        if (single) return one(m.embed(in("text"), options), embedding);
        return all(m.embed_batch(texts(input["texts"]), options), embedding);
    }
    if (call == "fill_mask") {
        if (single) return one(m.fill_mask(in("text"), options), filled);
        return all(m.fill_mask_batch(texts(input["texts"]), options), filled);
    }
    if (call == "order") {
        if (input.contains("pair"))
            return one(m.order(text(input["pair"][0]), text(input["pair"][1]), options), ordered);
        return all(m.order_batch(pairs(input["pairs"]), options), ordered);
    }
    if (call == "replaced") {
        if (single) return one(m.replaced(in("text"), options), replacements);
        return all(m.replaced_batch(texts(input["texts"]), options), replacements);
    }
    if (call == "count_tokens") return {{"tokens", m.count_tokens(in("text"))}};
    if (call == "model")
        return {{"task", m.bundle().task()},
                {"embedding_size", m.embedding_size()},
                {"mask_token", m.mask_token()},
                {"self_test_vectors", m.self_test().vectors}};
    throw std::runtime_error("unknown call " + call);
}

// ---- comparing

// What differs; empty if nothing does.
std::string difference(const json &expected, const json &found, double tolerance) {
    if (expected.is_number() && found.is_number()) {
        if (std::abs(expected.get<double>() - found.get<double>()) <= tolerance) return "";
    } else if (expected.is_array() && found.is_array() && expected.size() == found.size()) {
        for (std::size_t i = 0; i < expected.size(); i++) {
            const auto inner = difference(expected[i], found[i], tolerance);
            if (!inner.empty()) return "[" + std::to_string(i) + "]" + inner;
        }
        return "";
    } else if (expected.is_array() && found.is_string()) { // the parts of a message
        for (const std::string part : expected)
            if (found.get<std::string>().find(part) == std::string::npos) return ": " + found.dump() + " has no " + part;
        return "";
    } else if (expected.is_object() && found.is_object() && expected.size() == found.size()) {
        for (const auto &[name, value] : expected.items()) {
            if (!found.contains(name)) return "." + name + " is missing";
            const auto inner = difference(value, found[name], tolerance);
            if (!inner.empty()) return "." + name + inner;
        }
        return "";
    } else if (expected == found) {
        return "";
    }
    return ": expected " + expected.dump() + ", found " + found.dump();
}

} // namespace

int main(int argc, char **argv) {
    if (argc != 3) {
        std::fprintf(stderr, "usage: conformance FOLDER ONNXRUNTIME\n");
        return 2;
    }
    folder = argv[1];
    const limbeck::Env opened(argv[2]);
    env = &opened;
    std::vector<std::filesystem::path> files;
    for (const auto &entry : std::filesystem::directory_iterator(folder))
        if (entry.path().extension() == ".json" && entry.path().stem() != "statuses") files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    std::size_t passed = 0, failed = 0;
    for (const auto &path : files) {
        const json file = json::parse(std::ifstream(path));
        for (const auto &test : file["cases"]) {
            json found;
            try {
                found = run(test);
            } catch (const limbeck::Error &failure) {
                found = {{"error", error(failure)}};
            }
            const auto differs = difference(test["expect"], found, file["tolerance"]);
            differs.empty() ? passed++ : failed++;
            if (!differs.empty())
                std::printf("%s: %s: %s\n", path.filename().c_str(), test["name"].get<std::string>().c_str(),
                            differs.c_str());
        }
    }
    // What is still open: the models, and ONNX Runtime.
    const auto left = limbeck::open_handles() - models.size() - 1;
    failed += left;
    if (left > 0) std::printf("%zu handles were not freed\n", left);
    std::printf("%zu passed, %zu failed\n", passed, failed);
    return failed == 0 ? 0 : 1;
}

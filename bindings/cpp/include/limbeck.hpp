/* limbeck for C++17: values and owners over limbeck.h, in this header alone.
 *
 *     limbeck::Env env("libonnxruntime.so.1");
 *     auto model = limbeck::Model::open(env, "sentiment.limbeck");
 *     for (auto label : model.classify("crisp screen, awful battery"))
 *         std::cout << label.label << ' ' << label.probability << '\n';
 *
 * Every call that can fail comes twice: `open` throws limbeck::Error, `try_open` returns a
 * limbeck::Expected, which holds the value or the error. Without exceptions (-fno-exceptions)
 * only the second are there.
 *
 * Owners move and do not copy. What limbeck.h says of threads holds here: const member functions
 * may be called from many threads. Views (std::string_view, Floats) live as long as the object
 * that they were asked of. Texts are UTF-8; paths are UTF-8 or as the system has them.
 *
 * MIT OR Apache-2.0 */

#ifndef LIMBECK_HPP
#define LIMBECK_HPP

#include <limbeck.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <functional>
#include <initializer_list>
#include <istream>
#include <iterator>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#if defined(__cpp_exceptions) || defined(_CPPUNWIND)
#define LIMBECK_EXCEPTIONS 1
#else
#define LIMBECK_EXCEPTIONS 0
#endif

namespace limbeck {

/* ==== ERRORS ================================================================================== */

/** Why a call failed. A value: copy it, keep it, throw it. */
class Error : public std::runtime_error {
public:
    Error(limbeck_status code, std::string_view message)
        : std::runtime_error(std::string(limbeck_status_name(code)) + ": " + std::string(message)), code_(code) {}

    /** A number of enum limbeck_status_code. */
    limbeck_status code() const noexcept { return code_; }
    /** Its name: "LIMBECK_NOT_FOUND". */
    std::string_view name() const noexcept { return limbeck_status_name(code_); }
    /** What failed and how to mend it, without the name. */
    std::string_view message() const noexcept { return std::string_view(what()).substr(name().size() + 2); }

private:
    limbeck_status code_;
};

/** A value, or the error there is instead of it. */
template <class T> class [[nodiscard]] Expected {
public:
    Expected(T value) : state_(std::in_place_index<0>, std::move(value)) {}
    Expected(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

    bool has_value() const noexcept { return state_.index() == 0; }
    explicit operator bool() const noexcept { return has_value(); }

    /** The value; throws the error if there is none (without exceptions: ends the program). */
    T &value() & { return check(), *std::get_if<0>(&state_); }
    const T &value() const & { return check(), *std::get_if<0>(&state_); }
    T value() && { return check(), std::move(*std::get_if<0>(&state_)); }
    T &operator*() & { return value(); }
    T *operator->() { return &value(); }

    /** The error. Only when there is one. */
    const Error &error() const { return *std::get_if<1>(&state_); }

private:
    void check() const {
        if (has_value()) return;
#if LIMBECK_EXCEPTIONS
        throw error();
#else
        std::abort();
#endif
    }
    std::variant<T, Error> state_;
};

/** What Expected holds for a call that makes nothing. */
struct Done {};

/* ==== WHAT THE REST IS MADE OF ================================================================ */

namespace detail {

inline std::string_view view(limbeck_str text) noexcept { return {text.data, text.length}; }
inline limbeck_str str(std::string_view text) noexcept { return {text.data(), text.size()}; }

inline Error take(limbeck_status status, limbeck_error *error) {
    Error taken(status, view(limbeck_error_message(error)));
    limbeck_error_free(error);
    return taken;
}

template <class T, void (*Free)(T *)> struct Freer {
    void operator()(T *handle) const noexcept { Free(handle); }
};
template <class T, void (*Free)(T *)> using Handle = std::unique_ptr<T, Freer<T, Free>>;

/** Runs a call whose last parameters are `T **out, limbeck_error **error`, and owns what it makes. Nothing is made
 *  by a library of another ABI. */
template <class Owner, class T, class Call> Expected<Owner> made(Call &&call) {
    T *out = nullptr;
    limbeck_error *error = nullptr;
    limbeck_status status = LIMBECK_CHECK_ABI(&error);
    if (status == LIMBECK_OK) status = call(&out, &error);
    if (status != LIMBECK_OK) return take(status, error);
    return Owner(out);
}

/** Runs a call that makes nothing. */
template <class Call> Expected<Done> done(Call &&call) {
    limbeck_error *error = nullptr;
    const limbeck_status status = call(&error);
    if (status != LIMBECK_OK) return take(status, error);
    return Done{};
}

/** Runs a call that fills a plain value. */
template <class T, class Call> Expected<T> filled(T value, Call &&call) {
    limbeck_error *error = nullptr;
    const limbeck_status status = call(&value, &error);
    if (status != LIMBECK_OK) return take(status, error);
    return value;
}

/** A getter of a result for a place that is known to be there. */
template <class Call> void get(Call &&call) {
    limbeck_error *error = nullptr;
    const limbeck_status status = call(&error);
    if (status == LIMBECK_OK) return;
#if LIMBECK_EXCEPTIONS
    throw take(status, error);
#else
    limbeck_error_free(error);
    std::abort();
#endif
}

} // namespace detail

/** A view of floats. It converts to std::span<const float> where there is one. */
class Floats {
public:
    Floats() = default;
    Floats(const float *data, std::size_t size) : data_(data), size_(size) {}
    Floats(const std::vector<float> &values) : data_(values.data()), size_(values.size()) {}
    const float *data() const noexcept { return data_; }
    std::size_t size() const noexcept { return size_; }
    bool empty() const noexcept { return size_ == 0; }
    const float *begin() const noexcept { return data_; }
    const float *end() const noexcept { return data_ + size_; }
    float operator[](std::size_t at) const noexcept { return data_[at]; }

private:
    const float *data_ = nullptr;
    std::size_t size_ = 0;
};

/** Texts for one call: from any range of what is a std::string_view, or a list of them. Only
 *  views; the texts must live until the call returns. */
class Texts {
public:
    Texts(std::initializer_list<std::string_view> texts) {
        for (auto text : texts) texts_.push_back(detail::str(text));
    }
    template <class Range, class = decltype(std::string_view(*std::begin(std::declval<const Range &>())))>
    Texts(const Range &texts) {
        for (const auto &text : texts) texts_.push_back(detail::str(std::string_view(text)));
    }
    const limbeck_str *data() const noexcept { return texts_.data(); }
    std::size_t size() const noexcept { return texts_.size(); }

private:
    std::vector<limbeck_str> texts_;
};

/** Pairs of texts for one call, as Texts is for texts. */
class Pairs {
public:
    using Pair = std::pair<std::string_view, std::string_view>;
    Pairs(std::initializer_list<Pair> pairs) {
        for (const auto &pair : pairs) add(pair.first, pair.second);
    }
    template <class Range, class = decltype(std::string_view((*std::begin(std::declval<const Range &>())).first))>
    Pairs(const Range &pairs) {
        for (const auto &pair : pairs) add(pair.first, pair.second);
    }
    const limbeck_pair *data() const noexcept { return pairs_.data(); }
    std::size_t size() const noexcept { return pairs_.size(); }

private:
    void add(std::string_view first, std::string_view second) {
        pairs_.push_back({detail::str(first), detail::str(second)});
    }
    std::vector<limbeck_pair> pairs_;
};

/* ==== LIBRARY ================================================================================= */

/** The library's version: "0.1.0". */
inline std::string_view version() noexcept { return limbeck_version(); }

/** How many handles are open in the process, errors and results among them: to look for leaks. */
inline std::size_t open_handles() noexcept { return limbeck_open_handles(); }

enum class LogLevel : std::uint32_t {
    verbose = LIMBECK_LOG_VERBOSE,
    info = LIMBECK_LOG_INFO,
    warning = LIMBECK_LOG_WARNING,
    error = LIMBECK_LOG_ERROR,
    fatal = LIMBECK_LOG_FATAL,
};

/** Gets log messages, from any thread, several at one time. What it throws is dropped. */
using Logger = std::function<void(LogLevel, std::string_view)>;

/** Gives log messages of a level and above to a function, for the whole process; an empty one
 *  stops that. When the call returns, the function set before is gone. From one thread at a time. */
inline Expected<Done> try_set_logger(LogLevel lowest, Logger logger) {
    // Never freed: models that live to the end of the process log after static objects are gone.
    static auto &current = *new std::unique_ptr<Logger>;
    auto next = logger ? std::make_unique<Logger>(std::move(logger)) : nullptr;
    limbeck_log_function call = nullptr;
    if (next)
        call = [](void *data, std::uint32_t level, limbeck_str message) {
#if LIMBECK_EXCEPTIONS
            try {
                (*static_cast<Logger *>(data))(static_cast<LogLevel>(level), detail::view(message));
            } catch (...) {
            }
#else
            (*static_cast<Logger *>(data))(static_cast<LogLevel>(level), detail::view(message));
#endif
        };
    auto set = detail::done([&](limbeck_error **error) {
        const limbeck_status abi = LIMBECK_CHECK_ABI(error);
        if (abi != LIMBECK_OK) return abi;
        return limbeck_set_logger(static_cast<std::uint32_t>(lowest), call, next.get(), error);
    });
    if (set) current = std::move(next);
    return set;
}

/** ONNX Runtime, found and loaded: one for the whole process, whatever is made or dropped. */
class Env {
public:
    /** `threads`: what models use whose options do not say. An empty path: it is looked for. */
    static Expected<Env> try_open(std::string_view runtime_path = {}, std::uint32_t threads = 0) {
        limbeck_env_options options;
        limbeck_env_options_init(&options, sizeof options);
        options.runtime_path = detail::str(runtime_path);
        options.threads = threads;
        return detail::made<Env, limbeck_env>(
            [&](limbeck_env **out, limbeck_error **error) { return limbeck_env_new(&options, out, error); });
    }
#if LIMBECK_EXCEPTIONS
    explicit Env(std::string_view runtime_path = {}, std::uint32_t threads = 0)
        : Env(try_open(runtime_path, threads).value()) {}
#endif
    std::string_view runtime_version() const noexcept { return detail::view(limbeck_env_runtime_version(get())); }
    std::string_view runtime_path() const noexcept { return detail::view(limbeck_env_runtime_path(get())); }
    const limbeck_env *get() const noexcept { return handle_.get(); }

private:
    template <class Owner, class T, class Call> friend Expected<Owner> detail::made(Call &&);
    explicit Env(limbeck_env *handle) : handle_(handle) {}
    detail::Handle<limbeck_env, limbeck_env_free> handle_;
};

/** Ends calls from another thread: give it to them in CallOptions. */
class Cancel {
public:
    /** Without exceptions, `valid()` says whether there is a token: one that is not there ends nothing. */
    Cancel() {
        const auto made = detail::done([&](limbeck_error **error) { return limbeck_cancel_new(handle(), error); });
#if LIMBECK_EXCEPTIONS
        static_cast<void>(made.value());
#else
        (void)made;
#endif
    }
    bool valid() const noexcept { return cancel_ != nullptr; }
    ~Cancel() { limbeck_cancel_free(cancel_); }
    Cancel(const Cancel &) = delete;
    Cancel &operator=(const Cancel &) = delete;
    void trigger() const noexcept { limbeck_cancel_trigger(cancel_); }
    bool is_triggered() const noexcept { return limbeck_cancel_is_triggered(cancel_); }
    const limbeck_cancel *get() const noexcept { return cancel_; }

private:
    limbeck_cancel **handle() noexcept { return &cancel_; }
    limbeck_cancel *cancel_ = nullptr;
};

/* ==== BUNDLE ================================================================================== */

/** Decrypts a section of a bundle, or gives nothing if it cannot. What it throws counts as that. */
using Decrypt = std::function<std::optional<std::vector<std::uint8_t>>(
    std::string_view section, const std::uint8_t *stored, std::size_t length)>;

/** What must hold for a bundle, and what helps to read it. */
struct BundleOptions {
    std::optional<std::vector<std::string>> keys; /**< Public keys; one must have signed the bundle. */
    std::uint64_t minimum_build = 0;              /**< The lowest build that will do. */
    std::uint64_t size_limit = 0;                 /**< The longest bundle read to memory. 0: 4 GiB. */
    Decrypt decrypt;                              /**< Decrypts encrypted sections. */
};

namespace detail {

/** BundleOptions as C has them; not to be moved while in use. */
class CBundleOptions {
public:
    explicit CBundleOptions(const BundleOptions &options) {
        limbeck_bundle_options_init(&options_, sizeof options_);
        if (options.keys) {
            static const limbeck_str none = {"", 0};
            for (const auto &key : *options.keys) keys_.push_back(str(key));
            options_.keys = keys_.empty() ? &none : keys_.data();
            options_.key_count = keys_.size();
        }
        options_.minimum_build = options.minimum_build;
        options_.size_limit = options.size_limit;
        if (options.decrypt) {
            options_.decrypt = decrypt;
            options_.decrypt_data = const_cast<Decrypt *>(&options.decrypt);
        }
    }
    CBundleOptions(const CBundleOptions &) = delete;
    CBundleOptions &operator=(const CBundleOptions &) = delete;
    const limbeck_bundle_options *get() const noexcept { return &options_; }

private:
    static std::int32_t decrypt(void *data, limbeck_str section, const std::uint8_t *stored, std::size_t length,
                                limbeck_sink *sink) {
#if LIMBECK_EXCEPTIONS
        try {
#endif
            auto content = (*static_cast<Decrypt *>(data))(view(section), stored, length);
            if (!content) return 1;
            return limbeck_sink_write(sink, content->data(), content->size(), nullptr);
#if LIMBECK_EXCEPTIONS
        } catch (...) {
            return 2;
        }
#endif
    }
    limbeck_bundle_options options_;
    std::vector<limbeck_str> keys_;
};

} // namespace detail

/** A bundle, opened and verified. Needs no ONNX Runtime. */
class Bundle {
public:
    /** A file, which is mapped: do not change it while this or its models live; replace it. */
    static Expected<Bundle> try_open(std::string_view path, const BundleOptions &options = {}) {
        const detail::CBundleOptions c(options);
        return detail::made<Bundle, limbeck_bundle>([&](limbeck_bundle **out, limbeck_error **error) {
            return limbeck_bundle_open(path.data(), path.size(), c.get(), out, error);
        });
    }
    /** Bytes in memory, which are copied. */
    static Expected<Bundle> try_from_bytes(const void *bytes, std::size_t length, const BundleOptions &options = {}) {
        const detail::CBundleOptions c(options);
        return detail::made<Bundle, limbeck_bundle>([&](limbeck_bundle **out, limbeck_error **error) {
            return limbeck_bundle_open_bytes(static_cast<const std::uint8_t *>(bytes), length, c.get(), out, error);
        });
    }
    /** A part of an open file, all up to its end for length 0; the descriptor stays yours. */
    static Expected<Bundle> try_from_fd(int descriptor, std::uint64_t offset = 0, std::uint64_t length = 0,
                                        const BundleOptions &options = {}) {
        const detail::CBundleOptions c(options);
        return detail::made<Bundle, limbeck_bundle>([&](limbeck_bundle **out, limbeck_error **error) {
            return limbeck_bundle_open_fd(descriptor, offset, length, c.get(), out, error);
        });
    }
    /** A stream, read to its end. */
    static Expected<Bundle> try_from_stream(std::istream &stream, const BundleOptions &options = {}) {
        const detail::CBundleOptions c(options);
        const limbeck_read_function read = [](void *data, std::uint8_t *buffer, std::size_t capacity) -> std::int64_t {
#if LIMBECK_EXCEPTIONS
            try {
#endif
                auto &source = *static_cast<std::istream *>(data);
                source.read(reinterpret_cast<char *>(buffer), static_cast<std::streamsize>(capacity));
                return source.bad() ? -1 : static_cast<std::int64_t>(source.gcount());
#if LIMBECK_EXCEPTIONS
            } catch (...) {
                return -2;
            }
#endif
        };
        return detail::made<Bundle, limbeck_bundle>([&](limbeck_bundle **out, limbeck_error **error) {
            return limbeck_bundle_open_reader(read, &stream, 0, c.get(), out, error);
        });
    }
#if LIMBECK_EXCEPTIONS
    static Bundle open(std::string_view path, const BundleOptions &options = {}) {
        return try_open(path, options).value();
    }
    static Bundle from_bytes(const void *bytes, std::size_t length, const BundleOptions &options = {}) {
        return try_from_bytes(bytes, length, options).value();
    }
    static Bundle from_fd(int descriptor, std::uint64_t offset = 0, std::uint64_t length = 0,
                          const BundleOptions &options = {}) {
        return try_from_fd(descriptor, offset, length, options).value();
    }
    static Bundle from_stream(std::istream &stream, const BundleOptions &options = {}) {
        return try_from_stream(stream, options).value();
    }
    /** Which of these public keys signed the bundle: its place among them. */
    std::size_t verify(const Texts &keys) const { return try_verify(keys).value(); }
#endif
    Expected<std::size_t> try_verify(const Texts &keys) const {
        return detail::filled(std::size_t{0}, [&](std::size_t *out, limbeck_error **error) {
            return limbeck_bundle_verify(get(), keys.data(), keys.size(), out, error);
        });
    }
    std::string_view id() const noexcept { return detail::view(limbeck_bundle_id(get())); }
    std::string_view version() const noexcept { return detail::view(limbeck_bundle_version(get())); }
    std::uint64_t build() const noexcept { return limbeck_bundle_build(get()); }
    std::string_view task() const noexcept { return detail::view(limbeck_bundle_task(get())); }
    std::size_t max_tokens() const noexcept { return limbeck_bundle_max_tokens(get()); }
    std::uint64_t size() const noexcept { return limbeck_bundle_size(get()); }
    std::string_view manifest_json() const noexcept { return detail::view(limbeck_bundle_manifest_json(get())); }
    /** The labels of the model, as views into the bundle. */
    std::vector<std::string_view> labels() const {
        return list(limbeck_bundle_label_count(get()), limbeck_bundle_label);
    }
    /** Ids of the keys that the bundle says it is signed by; not checked. */
    std::vector<std::string_view> signers() const {
        return list(limbeck_bundle_signer_count(get()), limbeck_bundle_signer);
    }
    const limbeck_bundle *get() const noexcept { return handle_.get(); }

private:
    template <class Owner, class T, class Call> friend Expected<Owner> detail::made(Call &&);
    explicit Bundle(limbeck_bundle *handle) : handle_(handle) {}
    template <class Getter> std::vector<std::string_view> list(std::size_t count, Getter getter) const {
        std::vector<std::string_view> views(count);
        for (std::size_t i = 0; i < count; i++) {
            limbeck_str text = {"", 0};
            detail::get([&](limbeck_error **error) { return getter(get(), i, &text, error); });
            views[i] = detail::view(text);
        }
        return views;
    }
    detail::Handle<limbeck_bundle, limbeck_bundle_free> handle_;
};

/* ==== RESULTS ================================================================================= */

/** A place in a text, in three units; see limbeck_span. */
using Span = limbeck_span;

/** A label, or a ranked text, with its score; see limbeck_score. */
struct Score {
    std::string_view label;
    std::size_t index;
    float probability;
    float logit;
    bool holds;
};

/** A piece of a text with a label; see limbeck_entity. */
struct Entity {
    std::string_view label;
    std::string_view text;
    Span span;
    float score;
};

/** A piece of a text that answers a question; see limbeck_answer. */
struct Answer {
    std::string_view text;
    Span span;
    float score;
};

/** What could stand in place of a mask; see limbeck_guess. */
struct Guess {
    std::size_t mask;
    Span span;
    std::string_view text;
    std::string_view token;
    std::uint32_t id;
    float probability;
};

/** Which of two texts comes first; see limbeck_order. */
struct Order {
    float probability;
    float logit;
};

/** A piece of a text, with how likely it was put there; see limbeck_replaced. */
struct Replaced {
    std::string_view text;
    Span span;
    float probability;
};

/** What was read of a text, and how long it took; see limbeck_usage. */
struct Usage {
    std::size_t tokens_used;
    std::size_t tokens_dropped;
    std::size_t windows;
    std::chrono::nanoseconds tokenize;
    std::chrono::nanoseconds inference;
    std::chrono::nanoseconds post;
};

namespace detail {

template <class C> C prepared(void (*init)(C *, std::size_t)) {
    C value;
    init(&value, sizeof value);
    return value;
}

inline Score item(const limbeck_result *result, std::size_t text, std::size_t at, Score *) {
    auto c = prepared(limbeck_score_init);
    get([&](limbeck_error **error) { return limbeck_result_score(result, text, at, &c, error); });
    return {view(c.label), c.index, c.probability, c.logit, c.holds != 0};
}
inline Entity item(const limbeck_result *result, std::size_t text, std::size_t at, Entity *) {
    auto c = prepared(limbeck_entity_init);
    get([&](limbeck_error **error) { return limbeck_result_entity(result, text, at, &c, error); });
    return {view(c.label), view(c.text), c.span, c.score};
}
inline Answer item(const limbeck_result *result, std::size_t text, std::size_t at, Answer *) {
    auto c = prepared(limbeck_answer_init);
    get([&](limbeck_error **error) { return limbeck_result_answer(result, text, at, &c, error); });
    return {view(c.text), c.span, c.score};
}
inline Guess item(const limbeck_result *result, std::size_t text, std::size_t at, Guess *) {
    auto c = prepared(limbeck_guess_init);
    get([&](limbeck_error **error) { return limbeck_result_guess(result, text, at, &c, error); });
    return {c.mask, c.span, view(c.text), view(c.token), c.id, c.probability};
}

inline Order item(const limbeck_result *result, std::size_t text, std::size_t, Order *) {
    auto c = prepared(limbeck_order_init);
    get([&](limbeck_error **error) { return limbeck_result_order(result, text, &c, error); });
    return {c.probability, c.logit};
}
inline Replaced item(const limbeck_result *result, std::size_t text, std::size_t at, Replaced *) {
    auto c = prepared(limbeck_replaced_init);
    get([&](limbeck_error **error) { return limbeck_result_replaced(result, text, at, &c, error); });
    return {view(c.text), c.span, c.probability};
}

/** Goes over what has size() and operator[]. */
template <class Owner> class Iterator {
public:
    using iterator_category = std::input_iterator_tag;
    using value_type = decltype(std::declval<const Owner &>()[0]);
    using difference_type = std::ptrdiff_t;
    using pointer = void;
    using reference = value_type;
    Iterator(const Owner &owner, std::size_t at) : owner_(&owner), at_(at) {}
    value_type operator*() const { return (*owner_)[at_]; }
    Iterator &operator++() { return at_++, *this; }
    Iterator operator++(int) { return Iterator(*owner_, at_++); }
    bool operator==(const Iterator &other) const noexcept { return at_ == other.at_; }
    bool operator!=(const Iterator &other) const noexcept { return at_ != other.at_; }

private:
    const Owner *owner_;
    std::size_t at_;
};

using ResultHandle = Handle<limbeck_result, limbeck_result_free>;

} // namespace detail

/** The answer for one text of a batch: a view into it. A range of its items. */
template <class Item> class Items {
public:
    Items(const limbeck_result *result, std::size_t text) : result_(result), text_(text) {
        detail::get(
            [&](limbeck_error **error) { return limbeck_result_item_count(result_, text_, &size_, error); });
    }
    std::size_t size() const noexcept { return size_; }
    bool empty() const noexcept { return size_ == 0; }
    /** The item at a place below size(). */
    Item operator[](std::size_t at) const { return detail::item(result_, text_, at, static_cast<Item *>(nullptr)); }
    Item front() const { return (*this)[0]; }
    detail::Iterator<Items> begin() const { return {*this, 0}; }
    detail::Iterator<Items> end() const { return {*this, size_}; }

    Usage usage() const {
        auto c = detail::prepared(limbeck_usage_init);
        detail::get([&](limbeck_error **error) { return limbeck_result_usage(result_, text_, &c, error); });
        const auto time = [](std::uint64_t ns) { return std::chrono::nanoseconds(static_cast<std::int64_t>(ns)); };
        return {c.tokens_used,       c.tokens_dropped,     c.windows,
                time(c.tokenize_ns), time(c.inference_ns), time(c.post_ns)};
    }
    /** Of a classification: whether the text is the model's business at all. */
    bool in_scope() const {
        bool value = false;
        detail::get([&](limbeck_error **error) { return limbeck_result_in_scope(result_, text_, &value, error); });
        return value;
    }
    /** Of replaced tokens: all tokens that were read, suspicious or not. */
    std::vector<Replaced> tokens() const {
        std::size_t count = 0;
        detail::get(
            [&](limbeck_error **error) { return limbeck_result_token_count(result_, text_, &count, error); });
        std::vector<Replaced> all;
        all.reserve(count);
        for (std::size_t at = 0; at < count; at++) {
            auto c = detail::prepared(limbeck_replaced_init);
            detail::get([&](limbeck_error **error) { return limbeck_result_token(result_, text_, at, &c, error); });
            all.push_back({detail::view(c.text), c.span, c.probability});
        }
        return all;
    }
    /** Of answers: the score of "the text does not say". */
    float no_answer() const {
        float value = 0;
        detail::get([&](limbeck_error **error) { return limbeck_result_no_answer(result_, text_, &value, error); });
        return value;
    }

private:
    const limbeck_result *result_;
    std::size_t text_;
    std::size_t size_ = 0;
};

/** An embedding in a batch: a range of floats, with its usage. */
template <> class Items<float> : public Floats {
public:
    Items(const limbeck_result *result, std::size_t text) : result_(result), text_(text) {
        const float *data = nullptr;
        std::size_t size = 0;
        detail::get(
            [&](limbeck_error **error) { return limbeck_result_vector(result, text, &data, &size, error); });
        static_cast<Floats &>(*this) = Floats(data, size);
    }
    Usage usage() const { return Items<Score>(result_, text_).usage(); }

private:
    const limbeck_result *result_;
    std::size_t text_;
};

/** The answers of a batch, in the order of its texts. Owns what is seen through it. */
template <class Item> class Batch {
public:
    std::size_t size() const noexcept { return limbeck_result_count(get()); }
    bool empty() const noexcept { return size() == 0; }
    Items<Item> operator[](std::size_t text) const { return {get(), text}; }
    detail::Iterator<Batch> begin() const { return {*this, 0}; }
    detail::Iterator<Batch> end() const { return {*this, size()}; }
    /** All of it as JSON. */
    std::string_view json() const noexcept { return detail::view(limbeck_result_json(get())); }
    const limbeck_result *get() const noexcept { return handle_.get(); }

private:
    template <class Owner, class T, class Call> friend Expected<Owner> detail::made(Call &&);
    explicit Batch(limbeck_result *handle) : handle_(handle) {}
    detail::ResultHandle handle_;
};

/** The answer of a call for one text: owner and range of its items in one. */
template <class Item> class Result : public Items<Item> {
public:
    /** The answer as JSON: an array of one object. */
    std::string_view json() const noexcept { return detail::view(limbeck_result_json(handle_.get())); }

private:
    template <class Owner, class T, class Call> friend Expected<Owner> detail::made(Call &&);
    explicit Result(limbeck_result *handle) : Items<Item>(handle, 0), handle_(handle) {}
    detail::ResultHandle handle_;
};

/* ==== CALLS =================================================================================== */

enum class Overflow : std::uint32_t {
    automatic = LIMBECK_OVERFLOW_DEFAULT,
    truncate = LIMBECK_OVERFLOW_TRUNCATE,
    error = LIMBECK_OVERFLOW_ERROR,
    window = LIMBECK_OVERFLOW_WINDOW,
};

enum class Aggregation : std::uint32_t {
    first = LIMBECK_AGGREGATION_FIRST,
    average = LIMBECK_AGGREGATION_AVERAGE,
    max = LIMBECK_AGGREGATION_MAX,
    strict = LIMBECK_AGGREGATION_STRICT,
    none = LIMBECK_AGGREGATION_NONE,
};

/** Options of the calls of all tasks; see limbeck_call_options. What a task does not read must
 *  stay as it is. Texts must live until the call returns. */
struct CallOptions {
    Overflow overflow = Overflow::automatic;
    std::uint32_t window_stride = 0;
    std::chrono::milliseconds timeout{0}; /**< 0: none. */
    const Cancel *cancel = nullptr;
    std::size_t top_k = 0;
    float threshold = 0;
    float out_of_scope = 0;
    Aggregation aggregation = Aggregation::first;
    bool multi_label = false;
    std::size_t max_answer_tokens = 0;
    std::string_view hypothesis;
    std::string_view rank_label;
    bool both_orders = false;

    limbeck_call_options c() const {
        auto options = detail::prepared(limbeck_call_options_init);
        options.overflow = static_cast<std::uint32_t>(overflow);
        options.window_stride = window_stride;
        // A time that has passed is the shortest one, and not none.
        options.deadline_ms = timeout.count() < 0 ? 1 : static_cast<std::uint64_t>(timeout.count());
        options.cancel = cancel ? cancel->get() : nullptr;
        options.top_k = top_k;
        options.threshold = threshold;
        options.out_of_scope = out_of_scope;
        options.aggregation = static_cast<std::uint32_t>(aggregation);
        options.multi_label = multi_label;
        options.max_answer_tokens = max_answer_tokens;
        options.hypothesis = detail::str(hypothesis);
        options.rank_label = detail::str(rank_label);
        options.both_orders = both_orders;
        return options;
    }
};

/* ==== GENERATION ============================================================================== */

enum class Context : std::uint32_t {
    error = LIMBECK_CONTEXT_ERROR,
    stop = LIMBECK_CONTEXT_STOP,
    slide = LIMBECK_CONTEXT_SLIDE,
};

enum class Finish : std::uint32_t {
    unfinished = LIMBECK_FINISH_UNFINISHED,
    end_of_text = LIMBECK_FINISH_END_OF_TEXT,
    stop = LIMBECK_FINISH_STOP,
    length = LIMBECK_FINISH_LENGTH,
    context = LIMBECK_FINISH_CONTEXT,
};

/** How text is written; see limbeck_generate_options. Texts must live until the call returns. */
struct GenerateOptions {
    std::size_t max_new_tokens = 0; /**< 0: 128. */
    float temperature = 0;
    float top_p = 0;
    std::size_t top_k = 0;
    std::uint64_t seed = 0;
    float repetition_penalty = 0;
    bool ignore_eos = false;
    Texts stops = {};
    Context context = Context::error;
    std::uint32_t context_keep = 0;
    std::chrono::milliseconds timeout{0}; /**< 0: none. */
    const Cancel *cancel = nullptr;

    limbeck_generate_options c() const {
        auto options = detail::prepared(limbeck_generate_options_init);
        options.max_new_tokens = max_new_tokens;
        options.temperature = temperature;
        options.top_p = top_p;
        options.top_k = top_k;
        options.seed = seed;
        options.repetition_penalty = repetition_penalty;
        options.ignore_eos = ignore_eos;
        options.stops = stops.data();
        options.stop_count = stops.size();
        options.context = static_cast<std::uint32_t>(context);
        options.context_keep = context_keep;
        options.deadline_ms = timeout.count() < 0 ? 1 : static_cast<std::uint64_t>(timeout.count());
        options.cancel = cancel ? cancel->get() : nullptr;
        return options;
    }
};

/** A text that was written: a view into its owner; see limbeck_generation. */
struct Generation {
    std::string_view text;
    const std::uint32_t *ids;
    std::size_t generated_tokens;
    std::size_t prompt_tokens;
    std::size_t tokens_dropped;
    Finish finish;
    std::chrono::nanoseconds tokenize;
    std::chrono::nanoseconds prefill;
    std::chrono::nanoseconds decode;
    std::chrono::nanoseconds sampling;
};

using PromptUsage = limbeck_prompt_usage;

namespace detail {
inline PromptUsage prompt_usage(const limbeck_result *result) {
    auto usage = prepared(limbeck_prompt_usage_init);
    get([&](limbeck_error **error) { return limbeck_result_prompt_usage(result, &usage, error); });
    return usage;
}
} // namespace detail

/** Texts that were written, in the order of their prompts. Owns what is seen through it. */
class Generations {
public:
    std::size_t size() const noexcept { return limbeck_result_count(get()); }
    Generation operator[](std::size_t text) const {
        auto c = detail::prepared(limbeck_generation_init);
        detail::get([&](limbeck_error **error) { return limbeck_result_generation(get(), text, &c, error); });
        const auto time = [](std::uint64_t ns) { return std::chrono::nanoseconds(static_cast<std::int64_t>(ns)); };
        return {detail::view(c.text),
                c.ids,
                c.generated_tokens,
                c.prompt_tokens,
                c.tokens_dropped,
                static_cast<Finish>(c.finish),
                time(c.tokenize_ns),
                time(c.prefill_ns),
                time(c.decode_ns),
                time(c.sampling_ns)};
    }
    Generation front() const { return (*this)[0]; }
    detail::Iterator<Generations> begin() const { return {*this, 0}; }
    detail::Iterator<Generations> end() const { return {*this, size()}; }
    /** What was read of the prompt; not of a batch. */
    PromptUsage usage() const { return detail::prompt_usage(get()); }
    /** All of it as JSON. */
    std::string_view json() const noexcept { return detail::view(limbeck_result_json(get())); }
    const limbeck_result *get() const noexcept { return handle_.get(); }

private:
    template <class Owner, class T, class Call> friend Expected<Owner> detail::made(Call &&);
    explicit Generations(limbeck_result *handle) : handle_(handle) {}
    detail::ResultHandle handle_;
};

/** Is given each token as it is written, with the text that became certain with it; returns false to
 *  end the text. What it throws ends the call, and is thrown by it. */
using TokenFunction = std::function<bool(std::uint32_t id, std::string_view text)>;

enum class Scoring : std::uint32_t {
    per_token = LIMBECK_SCORING_PER_TOKEN,
    sum = LIMBECK_SCORING_SUM,
    per_byte = LIMBECK_SCORING_PER_BYTE,
    answer_context = LIMBECK_SCORING_ANSWER_CONTEXT,
};

/** A text to be completed; see limbeck_prompt. Texts must live until the call returns. */
struct Prompt {
    std::string_view query;
    Pairs examples = {};
    std::string_view instruction = {};
    std::optional<std::string_view> separator = {}; /**< None: two line ends. */
    std::size_t max_tokens = 0;
    bool all_examples = false;

    limbeck_prompt c() const {
        auto prompt = detail::prepared(limbeck_prompt_init);
        prompt.query = detail::str(query);
        prompt.examples = examples.data();
        prompt.example_count = examples.size();
        prompt.instruction = detail::str(instruction);
        // NULL stands for the default, and a view of nothing is a text without any.
        if (separator) prompt.separator = detail::str(separator->data() ? *separator : "");
        prompt.max_tokens = max_tokens;
        prompt.all_examples = all_examples;
        return prompt;
    }
};

/** How completions are scored; see limbeck_choose_options. */
struct ChooseOptions {
    Scoring scoring = Scoring::per_token;
    std::string_view answer_context = {};
    Texts content_free = {};
    std::chrono::milliseconds timeout{0}; /**< 0: none. */
    const Cancel *cancel = nullptr;

    limbeck_choose_options c() const {
        auto options = detail::prepared(limbeck_choose_options_init);
        options.scoring = static_cast<std::uint32_t>(scoring);
        options.answer_context = detail::str(answer_context);
        options.content_free = content_free.data();
        options.content_free_count = content_free.size();
        options.deadline_ms = timeout.count() < 0 ? 1 : static_cast<std::uint64_t>(timeout.count());
        options.cancel = cancel ? cancel->get() : nullptr;
        return options;
    }
};

/** How a text is read; see limbeck_perplexity_options. */
struct PerplexityOptions {
    std::size_t stride = 0; /**< 0: half of the context. */
    bool from_start = false;
    std::chrono::milliseconds timeout{0}; /**< 0: none. */
    const Cancel *cancel = nullptr;

    limbeck_perplexity_options c() const {
        auto options = detail::prepared(limbeck_perplexity_options_init);
        options.stride = stride;
        options.from_start = from_start;
        options.deadline_ms = timeout.count() < 0 ? 1 : static_cast<std::uint64_t>(timeout.count());
        options.cancel = cancel ? cancel->get() : nullptr;
        return options;
    }
};

using Choice = limbeck_choice;
using Perplexity = limbeck_perplexity;

/** Completions, the best first. Owns their texts. */
class Choices {
public:
    std::size_t size() const {
        std::size_t count = 0;
        detail::get([&](limbeck_error **error) { return limbeck_result_item_count(get(), 0, &count, error); });
        return count;
    }
    Choice operator[](std::size_t rank) const {
        auto choice = detail::prepared(limbeck_choice_init);
        detail::get([&](limbeck_error **error) { return limbeck_result_choice(get(), rank, &choice, error); });
        return choice;
    }
    Choice front() const { return (*this)[0]; }
    detail::Iterator<Choices> begin() const { return {*this, 0}; }
    detail::Iterator<Choices> end() const { return {*this, size()}; }
    PromptUsage usage() const { return detail::prompt_usage(get()); }
    /** All of it as JSON. */
    std::string_view json() const noexcept { return detail::view(limbeck_result_json(get())); }
    const limbeck_result *get() const noexcept { return handle_.get(); }

private:
    template <class Owner, class T, class Call> friend Expected<Owner> detail::made(Call &&);
    explicit Choices(limbeck_result *handle) : handle_(handle) {}
    detail::ResultHandle handle_;
};

/* ==== MODEL =================================================================================== */

/** How a model is opened; see limbeck_model_options. */
struct ModelOptions {
    std::uint32_t threads = 0;
    std::uint32_t sessions = 0;
    bool spinning = false;
    std::uint64_t memory_budget = 0;
    std::vector<std::string> providers;
    BundleOptions bundle;
};

using SelfTest = limbeck_self_test;
using Memory = limbeck_memory;
using Metrics = limbeck_metrics;

/* Each task: a call for one text and one for many, in both styles of error. */
#if LIMBECK_EXCEPTIONS
#define LIMBECK_THROWING(item, name, parameters, arguments) \
    item name parameters const { return try_##name arguments.value(); }
#else
#define LIMBECK_THROWING(item, name, parameters, arguments)
#endif
#define LIMBECK_TASK(owner, name, parameters, arguments, function, ...)                              \
    Expected<owner> try_##name parameters const {                                                     \
        const limbeck_call_options c = options.c();                                                   \
        return detail::made<owner, limbeck_result>([&](limbeck_result **out, limbeck_error **error) { \
            return function(get(), __VA_ARGS__, &c, out, error);                                      \
        });                                                                                           \
    }                                                                                                 \
    LIMBECK_THROWING(owner, name, parameters, arguments)

/** A model ready to run. */
class Model {
public:
    static Expected<Model> try_open(const Env &env, std::string_view path, const ModelOptions &options = {}) {
        const COptions c(options);
        return detail::made<Model, limbeck_model>([&](limbeck_model **out, limbeck_error **error) {
            return limbeck_model_open(env.get(), path.data(), path.size(), &c.options, out, error);
        });
    }
    static Expected<Model> try_open(const Env &env, const Bundle &bundle, const ModelOptions &options = {}) {
        const COptions c(options);
        return detail::made<Model, limbeck_model>([&](limbeck_model **out, limbeck_error **error) {
            return limbeck_model_open_bundle(env.get(), bundle.get(), &c.options, out, error);
        });
    }
    Expected<Done> try_warm_up() const {
        return detail::done([&](limbeck_error **error) { return limbeck_model_warm_up(get(), error); });
    }
    Expected<SelfTest> try_self_test() const {
        return detail::filled(detail::prepared(limbeck_self_test_init), [&](SelfTest *out, limbeck_error **error) {
            return limbeck_model_self_test(get(), out, error);
        });
    }
    Expected<std::size_t> try_count_tokens(std::string_view text) const {
        return detail::filled(std::size_t{0}, [&](std::size_t *out, limbeck_error **error) {
            return limbeck_model_count_tokens(get(), text.data(), text.size(), out, error);
        });
    }
    Expected<Bundle> try_bundle() const {
        return detail::made<Bundle, limbeck_bundle>(
            [&](limbeck_bundle **out, limbeck_error **error) { return limbeck_model_bundle(get(), out, error); });
    }
#if LIMBECK_EXCEPTIONS
    static Model open(const Env &env, std::string_view path, const ModelOptions &options = {}) {
        return try_open(env, path, options).value();
    }
    static Model open(const Env &env, const Bundle &bundle, const ModelOptions &options = {}) {
        return try_open(env, bundle, options).value();
    }
    void warm_up() const { try_warm_up().value(); }
    SelfTest self_test() const { return try_self_test().value(); }
    std::size_t count_tokens(std::string_view text) const { return try_count_tokens(text).value(); }
    Bundle bundle() const { return try_bundle().value(); }
#endif
    /** Floats of an embedding; 0 if the model makes none. */
    std::size_t embedding_size() const noexcept { return limbeck_model_embedding_size(get()); }
    /** What stands for a word to be guessed: "[MASK]". */
    std::string_view mask_token() const noexcept { return detail::view(limbeck_model_mask_token(get())); }
    std::string_view providers_json() const noexcept { return detail::view(limbeck_model_providers_json(get())); }
    Memory memory() const {
        auto c = detail::prepared(limbeck_memory_init);
        detail::get([&](limbeck_error **error) { return limbeck_model_memory(get(), &c, error); });
        return c;
    }
    Metrics metrics() const {
        auto c = detail::prepared(limbeck_metrics_init);
        detail::get([&](limbeck_error **error) { return limbeck_model_metrics(get(), &c, error); });
        return c;
    }

    LIMBECK_TASK(Result<Score>, classify, (std::string_view text, const CallOptions &options = {}), (text, options),
                 limbeck_model_classify, text.data(), text.size())
    LIMBECK_TASK(Batch<Score>, classify_batch, (const Texts &texts, const CallOptions &options = {}),
                 (texts, options), limbeck_model_classify_batch, texts.data(), texts.size())
    LIMBECK_TASK(Result<Score>, classify_pair,
                 (std::string_view first, std::string_view second, const CallOptions &options = {}),
                 (first, second, options), limbeck_model_classify_pair, first.data(), first.size(), second.data(),
                 second.size())
    LIMBECK_TASK(Batch<Score>, classify_pairs, (const Pairs &pairs, const CallOptions &options = {}),
                 (pairs, options), limbeck_model_classify_pairs, pairs.data(), pairs.size())
    LIMBECK_TASK(Result<Score>, zero_shot,
                 (std::string_view text, const Texts &labels, const CallOptions &options = {}),
                 (text, labels, options), limbeck_model_zero_shot, text.data(), text.size(), labels.data(),
                 labels.size())
    LIMBECK_TASK(Batch<Score>, zero_shot_batch,
                 (const Texts &texts, const Texts &labels, const CallOptions &options = {}),
                 (texts, labels, options), limbeck_model_zero_shot_batch, texts.data(), texts.size(), labels.data(),
                 labels.size())
    /** An answer for each ranked text, the best first, with one Score, whose index is its place. */
    LIMBECK_TASK(Batch<Score>, rerank, (std::string_view query, const Texts &texts, const CallOptions &options = {}),
                 (query, texts, options), limbeck_model_rerank, query.data(), query.size(), texts.data(),
                 texts.size())
    LIMBECK_TASK(Result<Entity>, tag, (std::string_view text, const CallOptions &options = {}), (text, options),
                 limbeck_model_tag, text.data(), text.size())
    LIMBECK_TASK(Batch<Entity>, tag_batch, (const Texts &texts, const CallOptions &options = {}), (texts, options),
                 limbeck_model_tag_batch, texts.data(), texts.size())
    LIMBECK_TASK(Result<Answer>, answer,
                 (std::string_view question, std::string_view text, const CallOptions &options = {}),
                 (question, text, options), limbeck_model_answer, question.data(), question.size(), text.data(),
                 text.size())
    LIMBECK_TASK(Batch<Answer>, answer_batch, (const Pairs &questions, const CallOptions &options = {}),
                 (questions, options), limbeck_model_answer_batch, questions.data(), questions.size())
    LIMBECK_TASK(Result<Guess>, fill_mask, (std::string_view text, const CallOptions &options = {}),
                 (text, options), limbeck_model_fill_mask, text.data(), text.size())
    LIMBECK_TASK(Batch<Guess>, fill_mask_batch, (const Texts &texts, const CallOptions &options = {}),
                 (texts, options), limbeck_model_fill_mask_batch, texts.data(), texts.size())

    /** One Order for a pair. */
    LIMBECK_TASK(Result<Order>, order,
                 (std::string_view first, std::string_view second, const CallOptions &options = {}),
                 (first, second, options), limbeck_model_order, first.data(), first.size(), second.data(),
                 second.size())
    LIMBECK_TASK(Batch<Order>, order_batch, (const Pairs &pairs, const CallOptions &options = {}), (pairs, options),
                 limbeck_model_order_batch, pairs.data(), pairs.size())
    /** The suspicious words; tokens() of the answer has every token. */
    LIMBECK_TASK(Result<Replaced>, replaced, (std::string_view text, const CallOptions &options = {}),
                 (text, options), limbeck_model_replaced, text.data(), text.size())
    LIMBECK_TASK(Batch<Replaced>, replaced_batch, (const Texts &texts, const CallOptions &options = {}),
                 (texts, options), limbeck_model_replaced_batch, texts.data(), texts.size())

    /** Writes on from a text; `function`, if there is one, is given each token. */
    Expected<Generations> try_generate(std::string_view prompt, const GenerateOptions &options = {},
                                       TokenFunction function = {}) const {
        const limbeck_generate_options c = options.c();
        return written(std::move(function), [&](auto call, void *state, limbeck_result **out, limbeck_error **error) {
            return limbeck_model_generate(get(), prompt.data(), prompt.size(), &c, call, state, out, error);
        });
    }
    /** Writes on from a prompt with examples; usage() says which of them were left out. */
    Expected<Generations> try_generate(const Prompt &prompt, const GenerateOptions &options = {},
                                       TokenFunction function = {}) const {
        const limbeck_prompt p = prompt.c();
        const limbeck_generate_options c = options.c();
        return written(std::move(function), [&](auto call, void *state, limbeck_result **out, limbeck_error **error) {
            return limbeck_model_generate_prompt(get(), &p, &c, call, state, out, error);
        });
    }
    Expected<Generations> try_generate_batch(const Texts &prompts, const GenerateOptions &options = {}) const {
        const limbeck_generate_options c = options.c();
        return detail::made<Generations, limbeck_result>([&](limbeck_result **out, limbeck_error **error) {
            return limbeck_model_generate_batch(get(), prompts.data(), prompts.size(), &c, out, error);
        });
    }
    /** Completions of a prompt, the best first. */
    Expected<Choices> try_choose(const Prompt &prompt, const Texts &completions,
                                 const ChooseOptions &options = {}) const {
        const limbeck_prompt p = prompt.c();
        const limbeck_choose_options c = options.c();
        return detail::made<Choices, limbeck_result>([&](limbeck_result **out, limbeck_error **error) {
            return limbeck_model_choose(get(), &p, completions.data(), completions.size(), &c, out, error);
        });
    }
    /** How likely a completion is; its text and index are empty. */
    Expected<Choice> try_score(const Prompt &prompt, std::string_view completion,
                               const ChooseOptions &options = {}) const {
        const limbeck_prompt p = prompt.c();
        const limbeck_choose_options c = options.c();
        return detail::filled(detail::prepared(limbeck_choice_init), [&](Choice *out, limbeck_error **error) {
            return limbeck_model_score(get(), &p, completion.data(), completion.size(), &c, out, error);
        });
    }
    Expected<Perplexity> try_perplexity(std::string_view text, const PerplexityOptions &options = {}) const {
        const limbeck_perplexity_options c = options.c();
        return detail::filled(detail::prepared(limbeck_perplexity_init), [&](Perplexity *out, limbeck_error **error) {
            return limbeck_model_perplexity(get(), text.data(), text.size(), &c, out, error);
        });
    }
    LIMBECK_THROWING(Generations, generate,
                     (std::string_view prompt, const GenerateOptions &options = {}, TokenFunction function = {}),
                     (prompt, options, std::move(function)))
    LIMBECK_THROWING(Generations, generate,
                     (const Prompt &prompt, const GenerateOptions &options = {}, TokenFunction function = {}),
                     (prompt, options, std::move(function)))
    LIMBECK_THROWING(Generations, generate_batch, (const Texts &prompts, const GenerateOptions &options = {}),
                     (prompts, options))
    LIMBECK_THROWING(Choices, choose,
                     (const Prompt &prompt, const Texts &completions, const ChooseOptions &options = {}),
                     (prompt, completions, options))
    LIMBECK_THROWING(Choice, score,
                     (const Prompt &prompt, std::string_view completion, const ChooseOptions &options = {}),
                     (prompt, completion, options))
    LIMBECK_THROWING(Perplexity, perplexity, (std::string_view text, const PerplexityOptions &options = {}),
                     (text, options))

    Expected<Result<float>> try_embed(std::string_view text, const CallOptions &options = {}) const {
        const limbeck_call_options c = options.c();
        return detail::made<Result<float>, limbeck_result>([&](limbeck_result **out, limbeck_error **error) {
            return limbeck_model_embed(get(), text.data(), text.size(), &c, nullptr, 0, out, error);
        });
    }
    Expected<Batch<float>> try_embed_batch(const Texts &texts, const CallOptions &options = {}) const {
        const limbeck_call_options c = options.c();
        return detail::made<Batch<float>, limbeck_result>([&](limbeck_result **out, limbeck_error **error) {
            return limbeck_model_embed_batch(get(), texts.data(), texts.size(), &c, nullptr, 0, out, error);
        });
    }
    /** Into memory of yours, with room for `capacity` floats: one vector after the other. */
    Expected<Done> try_embed_into(const Texts &texts, float *vectors, std::size_t capacity,
                                  const CallOptions &options = {}) const {
        const limbeck_call_options c = options.c();
        return detail::done([&](limbeck_error **error) {
            return limbeck_model_embed_batch(get(), texts.data(), texts.size(), &c, vectors, capacity, nullptr, error);
        });
    }
#if LIMBECK_EXCEPTIONS
    Result<float> embed(std::string_view text, const CallOptions &options = {}) const {
        return try_embed(text, options).value();
    }
    Batch<float> embed_batch(const Texts &texts, const CallOptions &options = {}) const {
        return try_embed_batch(texts, options).value();
    }
    void embed_into(const Texts &texts, float *vectors, std::size_t capacity, const CallOptions &options = {}) const {
        try_embed_into(texts, vectors, capacity, options).value();
    }
#endif
    const limbeck_model *get() const noexcept { return handle_.get(); }

private:
    template <class Owner, class T, class Call> friend Expected<Owner> detail::made(Call &&);
    /** What `call` writes, given a function that hands each token to `function`. */
    template <class Call> static Expected<Generations> written(TokenFunction function, Call &&call) {
        struct State {
            TokenFunction function;
#if LIMBECK_EXCEPTIONS
            std::exception_ptr thrown;
#endif
        } state;
        state.function = std::move(function);
        limbeck_token_function each = nullptr;
        if (state.function)
            each = [](void *data, std::uint32_t id, limbeck_str text) -> bool {
                auto &inside = *static_cast<State *>(data);
#if LIMBECK_EXCEPTIONS
                try {
                    return inside.function(id, detail::view(text));
                } catch (...) {
                    inside.thrown = std::current_exception();
                    return false;
                }
#else
                return inside.function(id, detail::view(text));
#endif
            };
        auto result = detail::made<Generations, limbeck_result>(
            [&](limbeck_result **out, limbeck_error **error) { return call(each, &state, out, error); });
#if LIMBECK_EXCEPTIONS
        if (state.thrown) std::rethrow_exception(state.thrown);
#endif
        return result;
    }
    explicit Model(limbeck_model *handle) : handle_(handle) {}

    /** ModelOptions as C has them. */
    struct COptions {
        explicit COptions(const ModelOptions &from)
            : options(detail::prepared(limbeck_model_options_init)), bundle(from.bundle), providers(from.providers) {
            options.threads = from.threads;
            options.sessions = from.sessions;
            options.spinning = from.spinning;
            options.memory_budget = from.memory_budget;
            options.providers = providers.data();
            options.provider_count = providers.size();
            options.bundle = bundle.get();
        }
        limbeck_model_options options;
        detail::CBundleOptions bundle;
        Texts providers;
    };
    detail::Handle<limbeck_model, limbeck_model_free> handle_;
};

/* ==== EMBEDDINGS, FEW-SHOT, SLOT ============================================================== */

/** The cosine of the angle between two vectors of one length. */
inline Expected<float> try_similarity(Floats first, Floats second) {
    if (first.size() != second.size()) return Error(LIMBECK_INVALID_ARGUMENT, "the vectors differ in length");
    return detail::filled(0.0f, [&](float *out, limbeck_error **error) {
        return limbeck_similarity(first.data(), second.data(), first.size(), out, error);
    });
}

/** A vector that was found: its place, and how similar it is. */
struct Neighbour {
    std::size_t index;
    float similarity;
};

/** The `k` nearest of the vectors that lie one after the other in `vectors`, the nearest first. */
inline Expected<std::vector<Neighbour>> try_nearest(Floats query, Floats vectors, std::size_t k) {
    if (query.empty() || vectors.size() % query.size() != 0)
        return Error(LIMBECK_INVALID_ARGUMENT, "the vectors do not have the length of the query");
    const std::size_t count = vectors.size() / query.size();
    k = k < count ? k : count;
    std::vector<std::size_t> indices(k);
    std::vector<float> similarities(k);
    auto found = detail::filled(std::size_t{0}, [&](std::size_t *out, limbeck_error **error) {
        return limbeck_nearest(query.data(), query.size(), vectors.data(), count, k, indices.data(),
                               similarities.data(), out, error);
    });
    if (!found) return found.error();
    std::vector<Neighbour> neighbours;
    for (std::size_t i = 0; i < *found; i++) neighbours.push_back({indices[i], similarities[i]});
    return neighbours;
}

/** A classifier fitted on a few examples, on top of an embedding model, which it does not hold. */
class Head {
public:
    /** Examples: texts with their labels. Strength 0: the default. */
    static Expected<Head> try_fit(const Model &model, const Pairs &examples, double strength = 0,
                                  const CallOptions &options = {}) {
        const limbeck_call_options c = options.c();
        return detail::made<Head, limbeck_head>([&](limbeck_head **out, limbeck_error **error) {
            return limbeck_head_fit(model.get(), examples.data(), examples.size(), strength, &c, out, error);
        });
    }
    static Expected<Head> try_load(std::string_view path) {
        return detail::made<Head, limbeck_head>([&](limbeck_head **out, limbeck_error **error) {
            return limbeck_head_load(path.data(), path.size(), out, error);
        });
    }
    Expected<Done> try_save(std::string_view path) const {
        return detail::done([&](limbeck_error **error) {
            return limbeck_head_save(get(), path.data(), path.size(), error);
        });
    }
    LIMBECK_TASK(Batch<Score>, classify, (const Model &model, const Texts &texts, const CallOptions &options = {}),
                 (model, texts, options), limbeck_head_classify, model.get(), texts.data(), texts.size())
#if LIMBECK_EXCEPTIONS
    static Head fit(const Model &model, const Pairs &examples, double strength = 0, const CallOptions &options = {}) {
        return try_fit(model, examples, strength, options).value();
    }
    static Head load(std::string_view path) { return try_load(path).value(); }
    void save(std::string_view path) const { try_save(path).value(); }
#endif
    std::vector<std::string_view> labels() const {
        std::vector<std::string_view> labels(limbeck_head_label_count(get()));
        for (std::size_t i = 0; i < labels.size(); i++) {
            limbeck_str text = {"", 0};
            detail::get([&](limbeck_error **error) { return limbeck_head_label(get(), i, &text, error); });
            labels[i] = detail::view(text);
        }
        return labels;
    }
    const limbeck_head *get() const noexcept { return handle_.get(); }

private:
    template <class Owner, class T, class Call> friend Expected<Owner> detail::made(Call &&);
    explicit Head(limbeck_head *handle) : handle_(handle) {}
    detail::Handle<limbeck_head, limbeck_head_free> handle_;
};

/** A place for a model that can be replaced under load. */
class Slot {
public:
    static Expected<Slot> try_make(const Model &model) {
        return detail::made<Slot, limbeck_slot>(
            [&](limbeck_slot **out, limbeck_error **error) { return limbeck_slot_new(model.get(), out, error); });
    }
    /** The model in use: ask anew for each call. */
    Expected<Model> try_model() const {
        return detail::made<Model, limbeck_model>(
            [&](limbeck_model **out, limbeck_error **error) { return limbeck_slot_model(get(), out, error); });
    }
    /** Puts a model in use if it fits and passes its self-test; gives the new generation. */
    Expected<std::uint64_t> try_publish(const Model &model) const {
        return detail::filled(std::uint64_t{0}, [&](std::uint64_t *out, limbeck_error **error) {
            return limbeck_slot_publish(get(), model.get(), out, error);
        });
    }
    /** Goes back to the model before; gives the new generation. */
    Expected<std::uint64_t> try_roll_back() const {
        return detail::filled(std::uint64_t{0}, [&](std::uint64_t *out, limbeck_error **error) {
            return limbeck_slot_roll_back(get(), out, error);
        });
    }
#if LIMBECK_EXCEPTIONS
    explicit Slot(const Model &model) : Slot(try_make(model).value()) {}
    Model model() const { return try_model().value(); }
    std::uint64_t publish(const Model &model) const { return try_publish(model).value(); }
    std::uint64_t roll_back() const { return try_roll_back().value(); }
#endif
    std::uint64_t generation() const noexcept { return limbeck_slot_generation(get()); }
    void forget_previous() const noexcept { limbeck_slot_forget_previous(get()); }
    const limbeck_slot *get() const noexcept { return handle_.get(); }

private:
    template <class Owner, class T, class Call> friend Expected<Owner> detail::made(Call &&);
    explicit Slot(limbeck_slot *handle) : handle_(handle) {}
    detail::Handle<limbeck_slot, limbeck_slot_free> handle_;
};

#if LIMBECK_EXCEPTIONS
inline void set_logger(LogLevel lowest, Logger logger) { try_set_logger(lowest, std::move(logger)).value(); }
inline float similarity(Floats first, Floats second) { return try_similarity(first, second).value(); }
inline std::vector<Neighbour> nearest(Floats query, Floats vectors, std::size_t k) {
    return try_nearest(query, vectors, k).value();
}
#endif

#undef LIMBECK_TASK
#undef LIMBECK_THROWING

} // namespace limbeck

#endif /* LIMBECK_HPP */

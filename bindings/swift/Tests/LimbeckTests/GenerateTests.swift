import Foundation
import Limbeck
import XCTest

/// Writing on from a text, on a model that goes round in `ab🙂.`; its context holds 64 tokens.
final class GenerateTests: XCTestCase {
    override class func tearDown() { Fixtures.assertNothingLeft(by: self) }

    private let some = GenerateOptions.with { $0.maxNewTokens = 21 }
    /// It goes on until somebody ends it.
    private let endless = GenerateOptions.with { ($0.maxNewTokens, $0.context) = (Int.max, .slide) }

    private func writer() throws -> Model { try Fixtures.model("bundles/writer.limbeck") }

    private func assertFails(
        _ status: Status, _ part: String = "", line: UInt = #line, _ call: () throws -> some Any
    ) {
        XCTAssertThrowsError(try call(), line: line) { error in
            XCTAssertEqual((error as? LimbeckError)?.status, status, "\(error)", line: line)
            XCTAssertTrue(part.isEmpty || "\(error)".contains(part), "\(error)", line: line)
        }
    }

    func testTokensAreGivenAsTheyAreWritten() throws {
        var pieces: [Piece] = []
        let found = try writer().generate("a", options: some) {
            pieces.append($0)
            return true
        }
        XCTAssertEqual(found.text, "b🙂.ab🙂.ab🙂.a")
        XCTAssertEqual(found.finish, .length)
        XCTAssertEqual(found.promptTokens, 1)
        XCTAssertEqual(pieces.map(\.id), found.ids)
        XCTAssertEqual(pieces.map(\.text).joined(), found.text)
        // Whole characters: three of the four bytes of one give nothing yet.
        XCTAssertEqual(pieces.prefix(6).map(\.text), ["b", "", "", "", "🙂", "."])
        XCTAssertEqual(try writer().generate("a", options: some).text, found.text)
    }

    func testTheFunctionEndsTheText() throws {
        var calls = 0
        let found = try writer().generate("a", options: endless) { _ in
            calls += 1
            return calls < 3
        }
        XCTAssertEqual(calls, 3)
        XCTAssertEqual(found.finish, .unfinished)
        XCTAssertEqual(found.generatedTokens, 3)
        struct NoMore: Error {}
        XCTAssertThrowsError(try writer().generate("a", options: endless) { _ in throw NoMore() }) {
            XCTAssertTrue($0 is NoMore, "\($0)")
        }
        // It may call the model.
        var inner = ""
        let one = GenerateOptions.with { $0.maxNewTokens = 1 }
        let model = try writer()
        _ = try model.generate("a", options: .with { $0.maxNewTokens = 6 }) {
            inner += try model.generate($0.text, options: one).text
            return true
        }
        XCTAssertEqual(inner, "\u{FFFD}aaa.a")
    }

    func testACallThatWritesEnds() throws {
        let cancel = try Cancel()
        DispatchQueue.global().asyncAfter(deadline: .now() + 0.1) { cancel.trigger() }
        var started = Date()
        var options = endless
        options.cancel = cancel
        assertFails(.cancelled) { try writer().generate("a", options: options) }
        XCTAssertLessThan(Date().timeIntervalSince(started), 2)
        started = Date()
        options = endless
        options.timeoutMilliseconds = 100
        assertFails(.deadlineExceeded) { try writer().generate("a", options: options) }
        XCTAssertLessThan(Date().timeIntervalSince(started), 2)
    }

    func testWhatIsWrongIsNamed() throws {
        let model = try writer()
        assertFails(.invalidArgument, "maxNewTokens is -1") { try model.generate("a", options: .with { $0.maxNewTokens = -1 }) }
        assertFails(.invalidArgument, "temperature") { try model.generate("a", options: .with { $0.temperature = .nan }) }
        assertFails(.invalidArgument, "context_keep") { try model.generate("a", options: .with { $0.contextKeep = 3 }) }
        assertFails(.invalidArgument, "stop string") { try model.generate("a", options: .with { $0.stops = [""] }) }
        assertFails(.tooLong) { try model.generate("a") }
        assertFails(.wrongTask) { try Fixtures.model("bundles/tiny.limbeck").generate("a") }
        assertFails(.invalidArgument, "scoring") { try model.score(Prompt("a"), completion: "b", options: .with { $0.scoring = .sum }) }
        assertFails(.invalidArgument, "stride is -1") { try model.perplexity("ab", options: .with { $0.stride = -1 }) }
        var prompt = Prompt("a")
        prompt.maxTokens = -1
        assertFails(.invalidArgument, "maxTokens is -1") { try model.generate(from: prompt) }
    }

    func testAPromptIsGoneOnFrom() throws {
        let model = try Model(Fixtures.environment.get(), path: Fixtures.path("bundles/writer.limbeck"))
        var prompt = Prompt("Q: a")
        prompt.examples = [("Q: a\nA:", " b")]
        let found = try model.generate(from: prompt, options: .with { $0.maxNewTokens = 5 })
        XCTAssertEqual([found.promptTokens, found.cachedTokens, found.examples, found.examplesDropped], [15, 0, 1, 0])
        XCTAssertEqual(found.text, "b🙂")
        // An empty separator is none, and not the default.
        var joined = prompt
        joined.separator = ""
        XCTAssertEqual(try model.generate(from: joined, options: .with { $0.maxNewTokens = 5 }).promptTokens, 13)
        prompt.query = "Q: .a"
        XCTAssertEqual(try model.choose(prompt, completions: ["x", "b"]).usage.cachedTokens, 11)
        XCTAssertEqual(try model.choose(prompt, completions: ["x", "b"]).best?.text, "b")
        let likelihood = try model.score(prompt, completion: "b")
        // Of 257 tokens one has e^5 and the others e^0.
        XCTAssertEqual(likelihood.logProbability, -1.0024370, accuracy: 1e-5)
        XCTAssertEqual(likelihood.perToken, likelihood.perByte)
        // The inverse of e^5 / (e^5 + 256).
        XCTAssertEqual(try model.perplexity("ab🙂.a").perplexity, 2.7249144, accuracy: 1e-5)
    }

    func testEveryCallAnswersAsItsBlockingCallDoes() async throws {
        let model = try writer()
        let writer = model.concurrent
        let prompt = Prompt("Q: a")
        let expected = try model.generate("a", options: some)
        let found = try await writer.generate("a", options: some)
        XCTAssertEqual(found.ids, expected.ids)
        let from = try await writer.generate(from: prompt, options: some).text
        XCTAssertEqual(from, expected.text)
        let batch = try await writer.generate(batch: ["a", "\n"], options: some).map(\.text)
        XCTAssertEqual(batch, [expected.text, ""])
        let choice = try await writer.choose(prompt, completions: ["x", "b"]).best
        XCTAssertEqual(choice, try model.choose(prompt, completions: ["x", "b"]).best)
        let (score, perplexity) = (try await writer.score(prompt, completion: "b"), try await writer.perplexity("ab"))
        XCTAssertEqual(score, try model.score(prompt, completion: "b"))
        XCTAssertEqual(perplexity, try model.perplexity("ab"))
    }

    func testAStreamGivesEveryToken() async throws {
        let model = try writer()
        let expected = try model.generate("a", options: some)
        let stream = model.concurrent.stream("a", options: some)
        // Each loop has a call of its own; one that is slow misses none.
        for slow in [false, true] {
            var pieces: [Piece] = []
            for try await piece in stream {
                if slow { try await Task.sleep(nanoseconds: 2_000_000) }
                pieces.append(piece)
            }
            XCTAssertEqual(pieces.map(\.id), expected.ids)
            XCTAssertEqual(pieces.map(\.text).joined(), expected.text)
        }
        let first = try await model.concurrent.stream(from: Prompt("Q: a"), options: some).first { _ in true }
        XCTAssertEqual(first?.text, "b")
        do {
            for try await _ in try Fixtures.model("bundles/tiny.limbeck").concurrent.stream("a") {}
            XCTFail("a classifier wrote")
        } catch let error as LimbeckError {
            XCTAssertEqual(error.status, .wrongTask)
        }
    }

    func testLeavingTheLoopEndsTheCall() async throws {
        let model = try Model(Fixtures.environment.get(), path: Fixtures.path("bundles/writer.limbeck"))
        var seen: [String] = []
        for try await piece in model.concurrent.stream("a", options: endless) {
            seen.append(piece.text)
            if seen.count == 3 { break }
        }
        XCTAssertEqual(seen, ["b", "", ""])
        try await assertEnds(model, calls: 1)
    }

    func testCancellingTheTaskEndsTheCall() async throws {
        let model = try Model(Fixtures.environment.get(), path: Fixtures.path("bundles/writer.limbeck"))
        let endless = self.endless
        let task = Task {
            var seen = 0
            for try await _ in model.concurrent.stream("a", options: endless) { seen += 1 }
            return seen
        }
        try await Task.sleep(nanoseconds: 100_000_000)
        let started = Date()
        task.cancel()
        let result = await task.result
        XCTAssertLessThan(Date().timeIntervalSince(started), 2)
        XCTAssertThrowsError(try result.get()) { XCTAssertTrue($0 is CancellationError, "\($0)") }
        try await assertEnds(model, calls: 1)
        let own = try Cancel()
        var options = endless
        options.cancel = own
        DispatchQueue.global().asyncAfter(deadline: .now() + 0.1) { own.trigger() }
        do {
            for try await _ in model.concurrent.stream("a", options: options) {}
            XCTFail("it was not cancelled")
        } catch let error as LimbeckError {
            XCTAssertEqual(error.status, .cancelled)
        }
    }

    /// A call that goes on until it is ended counts when it has ended.
    private func assertEnds(_ model: Model, calls: UInt64) async throws {
        for _ in 0..<200 {
            if try model.metrics().calls >= calls { break }
            try await Task.sleep(nanoseconds: 10_000_000)
        }
        XCTAssertEqual(try model.metrics().calls, calls)
    }
}

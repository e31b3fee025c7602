import Foundation
import Limbeck
import XCTest

/// Threads, cancelling, `async`, and what is not as it should be.
final class ModelTests: XCTestCase {
    override class func tearDown() { Fixtures.assertNothingLeft(by: self) }

    /// A tokenizer takes minutes for it, piece by piece.
    private let long = String(repeating: "good film ", count: 1_000_000)
    private let inWindows = CallOptions.with { $0.overflow = .window }

    private func tiny() throws -> Model { try Fixtures.model("bundles/tiny.limbeck") }
    private func encoder() throws -> Model { try Fixtures.model("../golden/bundle-1.0/tiny.fp32.limbeck") }

    private func assertFails(
        _ status: Status, _ part: String = "", line: UInt = #line, _ call: () throws -> some Any
    ) {
        XCTAssertThrowsError(try call(), line: line) { error in
            XCTAssertEqual((error as? LimbeckError)?.status, status, "\(error)", line: line)
            XCTAssertTrue(part.isEmpty || "\(error)".contains(part), "\(error)", line: line)
        }
    }

    func testManyThreadsUseOneModel() throws {
        let options = ModelOptions.with { $0.sessions = 2 }
        let model = try Model(Fixtures.environment.get(), path: Fixtures.path("bundles/tiny.limbeck"), options: options)
        let expected = try ["good", "bad", "good film 🙂"].map { ($0, try model.classify($0).best?.label) }
        let lock = NSLock()
        nonisolated(unsafe) var wrong: [String] = []
        DispatchQueue.concurrentPerform(iterations: 8) { _ in
            for round in 0..<250 {
                let (text, label) = expected[round % expected.count]
                let found = Result { try model.classify(text).best?.label }
                if (try? found.get()) != label { lock.withLock { wrong.append("\(found)") } }
            }
        }
        XCTAssertEqual(wrong, [])
    }

    func testACallThatRunsIsCancelled() throws {
        let cancel = try Cancel()
        DispatchQueue.global().asyncAfter(deadline: .now() + 0.1) { cancel.trigger() }
        let started = Date()
        assertFails(.cancelled) {
            try encoder().classify(long, options: .with { ($0.overflow, $0.cancel) = (.window, cancel) })
        }
        XCTAssertLessThan(Date().timeIntervalSince(started), 2)
        XCTAssertTrue(cancel.isTriggered)
    }

    func testADeadlineIsKept() throws {
        let started = Date()
        assertFails(.deadlineExceeded) {
            try encoder().classify(long, options: .with { ($0.overflow, $0.timeoutMilliseconds) = (.window, 100) })
        }
        XCTAssertLessThan(Date().timeIntervalSince(started), 2)
    }

    func testCancellingTheTaskEndsTheCall() async throws {
        let (model, long, inWindows) = (try encoder().concurrent, self.long, self.inWindows)
        _ = try await model.classify("good")
        let task = Task { try await model.classify(long, options: inWindows) }
        try await Task.sleep(nanoseconds: 200_000_000)
        let started = Date()
        task.cancel()
        let result = await task.result
        XCTAssertLessThan(Date().timeIntervalSince(started), 2)
        XCTAssertThrowsError(try result.get()) { XCTAssertTrue($0 is CancellationError, "\($0)") }
        // Cancelled before it begins.
        let early = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            return try await model.classify("good")
        }
        let nothing = await early.result
        XCTAssertThrowsError(try nothing.get()) { XCTAssertTrue($0 is CancellationError, "\($0)") }
    }

    func testATokenOfOnesOwnStillWorksAndIsLeftAlone() async throws {
        let cancel = try Cancel()
        let options = CallOptions.with { ($0.overflow, $0.cancel) = (.window, cancel) }
        let (model, long) = (try encoder().concurrent, self.long)
        let task = Task { try await model.classify(long, options: options) }
        try await Task.sleep(nanoseconds: 100_000_000)
        task.cancel()
        _ = await task.result
        XCTAssertFalse(cancel.isTriggered)
        DispatchQueue.global().asyncAfter(deadline: .now() + 0.1) { cancel.trigger() }
        do {
            _ = try await model.classify(long, options: options)
            XCTFail("it was not cancelled")
        } catch let error as LimbeckError {
            XCTAssertEqual(error.status, .cancelled)
        }
    }

    func testEveryTaskAnswersAsItsBlockingCallDoes() async throws {
        let tiny = try tiny()
        let (labels, concurrent) = (try tiny.classify("good").labels, try await tiny.concurrent.classify("good").labels)
        XCTAssertEqual(labels, concurrent)
        let batch = try await tiny.concurrent.classify(batch: ["good", "bad"])
        XCTAssertEqual(batch.map { $0.best?.label }, ["positive", "negative"])
        let pairs = try Fixtures.model("bundles/pairs.limbeck").concurrent
        let pair = try await pairs.classify(pair: "good", "bad").labels.count
        let several = try await pairs.classify(pairs: [("a", "b"), ("c", "d")]).count
        let zero = try await pairs.zeroShot("film", labels: ["good", "bad"]).labels.first?.label
        let zeros = try await pairs.zeroShot(batch: ["film", "good"], labels: ["bad"]).count
        let ranked = try await pairs.rerank(query: "film", texts: ["bad", "good"]).map(\.index)
        XCTAssertEqual([pair, several, zeros], [2, 2, 2])
        XCTAssertEqual(zero, "good")
        XCTAssertEqual(ranked, [1, 0])
        let entities = try Fixtures.model("bundles/entities.limbeck").concurrent
        let text = "🙂 Ada"
        let (entity, tagged) = (try await entities.tag(text).entities[0], try await entities.tag(batch: [text]).count)
        XCTAssertEqual("\(text[entity.range]) \(tagged)", "Ada 1")
        let reader = try Fixtures.model("bundles/reader.limbeck").concurrent
        let answer = try await reader.answer(question: "Who?", text: "By Ada Lovelace").best?.text
        let answers = try await reader.answer(batch: [(question: "Who?", text: "Ada")]).count
        XCTAssertEqual("\(answer ?? "") \(answers)", "Ada Lovelace 1")
        let embedder = try Fixtures.model("bundles/embedder.limbeck").concurrent
        let (one, many) = (try await embedder.embed("good").vector, try await embedder.embed(batch: ["good"])[0].vector)
        XCTAssertEqual(one, many)
        let masks = try Fixtures.model("bundles/masks.limbeck").concurrent
        let (mask, filled) = (try await masks.fillMask("[MASK]").masks, try await masks.fillMask(batch: ["[MASK]"])[0].masks)
        XCTAssertEqual(mask, filled)
        let (order, both) = (try Fixtures.model("bundles/order.limbeck"), CallOptions.with { $0.bothOrders = true })
        let (logit, swapped) = (
            try await order.concurrent.order("who", "London", options: both).logit,
            try await order.concurrent.order(batch: [("London", "who")], options: both)[0].logit
        )
        XCTAssertEqual(logit, try order.order("who", "London", options: both).logit)
        XCTAssertEqual(swapped, -logit)
        let replaced = try Fixtures.model("bundles/replaced.limbeck")
        let (found, each) = (
            try await replaced.concurrent.replaced("🙂 the flim"),
            try await replaced.concurrent.replaced(batch: ["🙂 the flim"])[0]
        )
        let blocking = try replaced.replaced("🙂 the flim")
        XCTAssertEqual([found.spans, each.spans, found.tokens], [blocking.spans, blocking.spans, each.tokens])
        XCTAssertEqual(found.spans.map(\.text), ["flim"])
    }

    /// C has one number for `first` and for what was not set; here each is what it says.
    func testReplacedTokensHaveNoLabels() throws {
        let (model, entities) = (try Fixtures.model("bundles/replaced.limbeck"), try Fixtures.model("bundles/entities.limbeck"))
        for aggregation in [Aggregation.first, .strict] {
            let options = CallOptions.with { $0.aggregation = aggregation }
            assertFails(.invalidArgument, "aggregation") { try model.replaced("the flim", options: options) }
            assertFails(.invalidArgument, "aggregation") { try model.replaced(batch: [], options: options) }
            XCTAssertEqual(try entities.tag("Ada", options: options).entities.count, 1)
        }
        XCTAssertEqual(try model.replaced("the flim", options: .with { $0.aggregation = .max }).spans, try model.replaced("the flim").spans)
    }

    func testManyTasksRunAtOneTime() async throws {
        let model = try tiny().concurrent
        let found = try await withThrowingTaskGroup(of: (Int, String?).self) { group in
            for number in 0..<100 {
                group.addTask { (number, try await model.classify(number % 2 == 0 ? "good" : "bad").best?.label) }
            }
            return try await group.reduce(into: [Int: String?]()) { $0[$1.0] = $1.1 }
        }
        for number in 0..<100 { XCTAssertEqual(found[number], number % 2 == 0 ? "positive" : "negative") }
    }

    func testWhatIsWrongIsNamed() throws {
        let tiny = try tiny()
        assertFails(.invalidArgument, "topK is -1") { try tiny.classify("good", options: .with { $0.topK = -1 }) }
        assertFails(.invalidArgument, "threshold") { try tiny.classify("good", options: .with { $0.threshold = .nan }) }
        assertFails(.invalidArgument, "hypothesis") { try tiny.classify("a", options: .with { $0.hypothesis = "{}" }) }
        assertFails(.invalidArgument, "both_orders") { try tiny.classify("a", options: .with { $0.bothOrders = true }) }
        assertFails(.wrongTask) { try tiny.embed("good") }
        assertFails(.notFound, "no-such") { try ModelBundle(path: "no-such.limbeck") }
        assertFails(.invalidArgument) { try ModelBundle(path: "a\0b") }
        struct NoKey: Error {}
        let options = BundleOptions(decrypt: { _, _ in throw NoKey() })
        assertFails(.incompatible, "NoKey") { try ModelBundle(path: Fixtures.path("bundles/hidden.limbeck"), options: options) }
        assertFails(.memoryBudget) {
            let options = ModelOptions.with { $0.memoryBudget = 1 }
            return try Model(Fixtures.environment.get(), path: Fixtures.path("bundles/tiny.limbeck"), options: options)
        }
        assertFails(.runtimeIncompatible, "/no/such") { try Environment(runtimePath: "/no/such/libonnxruntime.so") }
        let key = "ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c"
        let signed = try ModelBundle(path: Fixtures.path("bundles/signed.limbeck"))
        XCTAssertEqual(try signed.verify(keys: [String(key.reversed()), key]), 1)
        assertFails(.signature) { try signed.verify(keys: [String(key.reversed())]) }
    }

    func testLargeInputsAndOddOnes() throws {
        let tiny = try tiny()
        XCTAssertEqual(try tiny.classify(batch: []).count, 0)
        let many = try tiny.classify(batch: (0..<5000).map { $0 % 2 == 0 ? "good" : "bad" })
        XCTAssertEqual(many.suffix(2).map { $0.best?.label }, ["positive", "negative"])
        XCTAssertNotNil(try tiny.classify("").best)
        XCTAssertNotNil(try tiny.classify("good\0film").best)
        let text = String(repeating: "👩‍👩‍👧", count: 20_000) + " Ada"
        let entity = try XCTUnwrap(Fixtures.model("bundles/entities.limbeck").tag(text).entities.last)
        XCTAssertEqual(String(text[entity.range]), "Ada")
    }

    func testAModelTellsOfItself() throws {
        let file = try XCTUnwrap(FileHandle(forReadingAtPath: Fixtures.path("bundles/tiny.limbeck")))
        let bundle = try ModelBundle(descriptor: file.fileDescriptor)
        try file.close()
        XCTAssertEqual(bundle.id, "tiny")
        assertFails(.invalidArgument) { try ModelBundle(descriptor: -1) }
        let options = ModelOptions.with { ($0.memoryBudget, $0.providers) = (64 << 20, ["cuda"]) }
        let model = try Model(Fixtures.environment.get(), bundle: bundle, options: options)
        XCTAssertEqual(try model.memory().budget, 64 << 20)
        try model.warmUp()
        let before = try model.metrics()
        _ = try model.classify("good")
        XCTAssertEqual(try model.metrics().calls, before.calls + 1)
        XCTAssertTrue(model.providersJSON.contains("cuda"))
        XCTAssertTrue(bundle.manifestJSON.contains("\"tiny\""))
    }

    func testAVersionIsSaid() throws {
        XCTAssertEqual(libraryVersion.split(separator: ".").count, 3)
        XCTAssertTrue(try Fixtures.environment.get().runtimeVersion.hasPrefix("1."))
    }
}

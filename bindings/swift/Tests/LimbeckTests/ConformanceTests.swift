import Foundation
import Limbeck
import XCTest

/// The cases of tests/conformance: what every language answers.
final class ConformanceTests: XCTestCase {
    override class func tearDown() { Fixtures.assertNothingLeft(by: self) }

    func testCases() throws {
        let files = try FileManager.default.contentsOfDirectory(atPath: Fixtures.cases).sorted()
        var passed = 0
        for file in files where file.hasSuffix(".json") && file != "statuses.json" {
            let json = try JSON.read(Fixtures.path(file))
            // Strings of Swift's are always text: bytes that are none cannot be given.
            for test in json["cases"].list where !test["needs"].list.contains(.string("bytes")) {
                let found: JSON
                do {
                    found = try Case(test).run()
                } catch let failure as LimbeckError {
                    found = .object(["error": error(failure)])
                }
                let difference = difference(test["expect"], found, json["tolerance"].number)
                XCTAssertEqual(difference, "", "\(file): \(test["name"].string)")
                if difference.isEmpty { passed += 1 }
            }
        }
        print("\(passed) conformance cases passed")
        XCTAssertGreaterThan(passed, 350)
    }

    func testStatuses() throws {
        let statuses = try JSON.read(Fixtures.path("statuses.json"))["statuses"].list.filter { $0["code"].number != 0 }
        XCTAssertEqual(Set(statuses.map { Int32($0["code"].number) }), Set(Status.allCases.map(\.rawValue)))
        for status in Status.allCases {
            let name = statuses.first { Int32($0["code"].number) == status.rawValue }?["name"].string
            XCTAssertEqual(name?.replacingOccurrences(of: "_", with: ""), "LIMBECK" + "\(status)".uppercased())
        }
    }

    func testADifferenceIsSeen() {
        let pairs: [(JSON, JSON)] = [
            (.array([.number(1)]), .array([.number(1.1)])), (.array([.number(1)]), .array([])),
            (.object(["a": .number(1)]), .object([:])), (.string("a"), .string("b")), (.bool(true), .bool(false)),
        ]
        for (expected, found) in pairs { XCTAssertNotEqual(difference(expected, found, 1e-5), "") }
    }
}

private struct Case {
    let test: JSON
    let input: JSON

    init(_ test: JSON) { (self.test, input) = (test, test["input"]) }

    func run() throws -> JSON {
        switch test["call"].string {
        case "open": return try open()
        case "slot": return try slot()
        case "head": return try head()
        case "similarity":
            return .object(["similarity": .float(try similarity(input["first"].floats, input["second"].floats))])
        case "nearest":
            let vectors = input["vectors"].list.map(\.floats)
            let found = try nearest(to: input["query"].floats, in: vectors, k: Int(input["k"].number))
            return .object(["nearest": .array(found.map {
                .object(["index": .int($0.index), "similarity": .float($0.similarity)])
            })])
        case "generate": return try generate()
        case "choose":
            let found = try Fixtures.model(test["bundle"].string).choose(
                prompt(input["from"]), completions: input["completions"].list.map(text),
                options: chooseOptions(test["options"]))
            let choices = found.choices.map { choice in
                likelihood(choice.score, choice.likelihood, [
                    "text": .string(choice.text), "index": .int(choice.index), "probability": .number(choice.probability),
                ])
            }
            let read = found.usage
            return .object([
                "choices": .array(choices), "usage": usage(read.promptTokens, read.examples, read.examplesDropped),
            ])
        case "score":
            let found = try Fixtures.model(test["bundle"].string).score(
                prompt(input["from"]), completion: text(input["completion"]), options: chooseOptions(test["options"]))
            return .object(["choice": likelihood(found.perToken, found, [:])])
        case "perplexity":
            let found = try Fixtures.model(test["bundle"].string).perplexity(
                text(input["text"]), options: perplexityOptions(test["options"]))
            return .object(["perplexity": .object([
                "perplexity": .number(found.perplexity), "bits_per_byte": .number(found.bitsPerByte),
                "log_probability": .number(found.logProbability), "tokens": .int(found.tokens),
                "bytes": .int(found.bytes), "windows": .int(found.windows),
            ])])
        default: return try call()
        }
    }

    private func generate() throws -> JSON {
        let model = try Fixtures.model(test["bundle"].string)
        let options = try generateOptions(test["options"])
        let most = input["stop_after"].isNull ? Int.max : Int(input["stop_after"].number)
        var pieces: [Piece] = []
        let take: TokenFunction = { piece in
            pieces.append(piece)
            return pieces.count < most
        }
        let function = input["stream"].isNull ? nil : take
        let found: [Generation]
        if !input["prompts"].isNull {
            found = try model.generate(batch: input["prompts"].list.map(text), options: options)
        } else if !input["from"].isNull {
            found = [try model.generate(from: prompt(input["from"]), options: options, function: function)]
        } else {
            found = [try model.generate(text(input["prompt"]), options: options, function: function)]
        }
        if function != nil {
            XCTAssertEqual(pieces.map(\.id), found[0].ids)
            XCTAssertEqual(pieces.map(\.text).joined(), found[0].text)
        }
        let finishes: [Finish: String] = [
            .unfinished: "unfinished", .endOfText: "end-of-text", .stop: "stop", .length: "length", .context: "context",
        ]
        guard case .object(var fields) = results(found, { found in
            .object([
                "text": .string(found.text), "ids": .array(found.ids.map(JSON.int)),
                "finish": .string(finishes[found.finish]!), "prompt_tokens": .int(found.promptTokens),
                "generated_tokens": .int(found.generatedTokens), "tokens_dropped": .int(found.tokensDropped),
            ])
        }) else { return .null }
        if !input["from"].isNull {
            fields["usage"] = usage(found[0].promptTokens, found[0].examples, found[0].examplesDropped)
        }
        return .object(fields)
    }

    private func call() throws -> JSON {
        let model = try Fixtures.model(test["bundle"].string)
        let options = try options(test["options"])
        let one = input["text"].isNull ? nil : text(input["text"])
        let texts = input["texts"].list.map(text)
        switch test["call"].string {
        case "classify":
            if let one { return results([try model.classify(one, options: options)], classification) }
            if !input["pair"].isNull {
                let pair = pair(input["pair"])
                return results([try model.classify(pair: pair.0, pair.1, options: options)], classification)
            }
            if !input["pairs"].isNull {
                return results(try model.classify(pairs: input["pairs"].list.map(pair), options: options), classification)
            }
            return results(try model.classify(batch: texts, options: options), classification)
        case "zero_shot":
            let labels = input["labels"].list.map(text)
            let found = try one.map { [try model.zeroShot($0, labels: labels, options: options)] }
                ?? model.zeroShot(batch: texts, labels: labels, options: options)
            return results(found) {
                used($0.usage, ["labels": .array($0.labels.map {
                    .object([
                        "label": .string($0.label), "index": .int($0.index), "probability": .float($0.probability),
                    ])
                })])
            }
        case "rerank":
            return results(try model.rerank(query: text(input["query"]), texts: texts, options: options)) {
                used($0.usage, ["index": .int($0.index), "score": .float($0.score)])
            }
        case "tag":
            let found = try one.map { [try model.tag($0, options: options)] } ?? model.tag(batch: texts, options: options)
            let given = one.map { [$0] } ?? texts
            return results(Array(zip(found, given))) { found, text in
                used(found.usage, ["entities": .array(found.entities.map {
                    .object([
                        "label": .string($0.label), "score": .float($0.score), "span": span($0.range, in: text, $0.text),
                        "text": .string($0.text),
                    ])
                })])
            }
        case "answer":
            let questions = one.map { [(text(input["question"]), $0)] } ?? input["questions"].list.map(pair)
            let found = try one.map { [try model.answer(question: questions[0].0, text: $0, options: options)] }
                ?? model.answer(batch: questions.map { (question: $0.0, text: $0.1) }, options: options)
            return results(Array(zip(found, questions))) { found, question in
                used(found.usage, [
                    "answers": .array(found.answers.map {
                        .object([
                            "text": .string($0.text), "span": span($0.range, in: question.1, $0.text),
                            "score": .float($0.score),
                        ])
                    }),
                    "no_answer": .float(found.noAnswer),
                ])
            }
        case "embed":
            let found = try one.map { [try model.embed($0, options: options)] }
                ?? model.embed(batch: texts, options: options)
            return results(found) { used($0.usage, ["vector": .array($0.vector.map(JSON.float))]) }
        case "fill_mask":
            let found = try one.map { [try model.fillMask($0, options: options)] }
                ?? model.fillMask(batch: texts, options: options)
            let given = one.map { [$0] } ?? texts
            return results(Array(zip(found, given))) { found, text in
                used(found.usage, ["masks": .array(found.masks.map {
                    .object([
                        "span": span($0.range, in: text, model.maskToken),
                        "guesses": .array($0.guesses.map {
                            .object([
                                "text": .string($0.text), "token": .string($0.token), "id": .int($0.id),
                                "probability": .float($0.probability),
                            ])
                        }),
                    ])
                })])
            }
        case "order":
            let found: [Order]
            if !input["pair"].isNull {
                let pair = pair(input["pair"])
                found = [try model.order(pair.0, pair.1, options: options)]
            } else {
                found = try model.order(batch: input["pairs"].list.map(pair), options: options)
            }
            return results(found) {
                used($0.usage, ["probability": .float($0.probability), "logit": .float($0.logit)])
            }
        case "replaced":
            let found = try one.map { [try model.replaced($0, options: options)] }
                ?? model.replaced(batch: texts, options: options)
            let given = one.map { [$0] } ?? texts
            return results(Array(zip(found, given))) { found, text in
                used(found.usage, ["spans": replaced(found.spans, in: text), "tokens": replaced(found.tokens, in: text)])
            }
        case "count_tokens": return .object(["tokens": .int(try model.countTokens(one ?? ""))])
        case "model":
            return .object([
                "task": .string(try model.bundle().task), "embedding_size": .int(model.embeddingSize),
                "mask_token": .string(model.maskToken), "self_test_vectors": .int(try model.selfTest().vectors),
            ])
        default: throw UnknownCall(name: test["call"].string)
        }
    }

    private func open() throws -> JSON {
        var options = BundleOptions()
        if !input["keys"].isNull { options.keys = input["keys"].list.map(\.string) }
        if !input["minimum_build"].isNull { options.minimumBuild = UInt64(input["minimum_build"].number) }
        if !input["decrypt_xor"].isNull {
            let key = UInt8(input["decrypt_xor"].number)
            options.decrypt = { _, stored in stored.map { $0 ^ key } }
        }
        let path = Fixtures.path(test["bundle"].string)
        let damage = input["damage"]
        let bundle: ModelBundle
        if damage.isNull {
            bundle = try ModelBundle(path: path, options: options)
        } else {
            var bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
            if !damage["cut"].isNull { bytes = Array(bytes.prefix(Int(damage["cut"].number))) }
            if !damage["flip"].isNull { bytes[Int(damage["flip"].number)] ^= 1 }
            if !damage["replace"].isNull { bytes = Array(damage["replace"].string.utf8) }
            bundle = try ModelBundle(bytes: bytes, options: options)
        }
        return .object(["bundle": .object([
            "id": .string(bundle.id), "version": .string(bundle.version), "build": .int(bundle.build),
            "task": .string(bundle.task), "max_tokens": .int(bundle.maxTokens), "size": .int(bundle.size),
            "labels": .array(bundle.labels.map(JSON.string)), "signers": .array(bundle.signers.map(JSON.string)),
        ])])
    }

    private func slot() throws -> JSON {
        let slot = try Slot(Fixtures.model(test["bundle"].string))
        return .object(["steps": .array(try input["steps"].list.map { step in
            var found: [String: JSON] = [:]
            do {
                if !step["publish"].isNull { try slot.publish(Fixtures.model(step["publish"].string)) }
                else if step["do"].string == "roll_back" { try slot.rollBack() }
                else { slot.forgetPrevious() }
            } catch let failure as LimbeckError {
                found["error"] = error(failure)
            }
            found["generation"] = .int(slot.generation)
            found["build"] = .int(try slot.model().bundle().build)
            return .object(found)
        })])
    }

    private func head() throws -> JSON {
        let embedder = try Fixtures.model(test["bundle"].string)
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("limbeck-swift-head.json").path
        defer { try? FileManager.default.removeItem(atPath: path) }
        let examples = input["examples"].list.map(pair).map { (text: $0.0, label: $0.1) }
        let strength = input["strength"].isNull ? 0 : input["strength"].number
        try Head(fit: embedder, examples: examples, strength: strength).save(path: path)
        let head = try Head(path: path)
        let on = input["on"].isNull ? embedder : try Fixtures.model(input["on"].string)
        let texts = input["texts"].list.map(text)
        let found = try head.classify(texts, with: on, options: options(test["options"]))
        guard case .object(var fields) = results(found, classification) else { return .null }
        fields["labels"] = .array(head.labels.map(JSON.string))
        return .object(fields)
    }
}

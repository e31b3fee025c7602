import Foundation
import Limbeck
import XCTest

/// Where the tests find what they need: `LIMBECK_CASES`, the folder tests/conformance, and `LIMBECK_RUNTIME`, the ONNX
/// Runtime to load.
enum Fixtures {
    static let cases = variable("LIMBECK_CASES")
    static let environment = Result { try Environment(runtimePath: variable("LIMBECK_RUNTIME")) }

    private static let lock = NSLock()
    nonisolated(unsafe) private static var models: [String: Model] = [:]

    static func path(_ bundle: String) -> String { cases + "/" + bundle }

    /// A model that stays open, by its path from the folder of the cases.
    static func model(_ bundle: String) throws -> Model {
        try lock.withLock {
            if let model = models[bundle] { return model }
            let model = try Model(environment.get(), path: path(bundle))
            models[bundle] = model
            return model
        }
    }

    /// After the tests of a class: they left no handle open but ONNX Runtime's, which a process keeps. A failure out there
    /// belongs to no test, so it ends the run.
    static func assertNothingLeft(by tests: XCTestCase.Type) {
        lock.withLock { models = [:] }
        // What a task or a queue still holds goes with it.
        for _ in 0..<200 where openHandles > 1 { Thread.sleep(forTimeInterval: 0.01) }
        if openHandles > 1 { fatalError("\(tests) left \(openHandles - 1) handles open") }
        print("\(tests) left no handle open")
    }

    private static func variable(_ name: String) -> String {
        guard let value = ProcessInfo.processInfo.environment[name] else { fatalError("\(name) is not set") }
        return value
    }
}

/// As much of JSON as the cases need.
enum JSON: Decodable, Equatable, CustomStringConvertible {
    case null, bool(Bool), number(Double), string(String), array([JSON]), object([String: JSON])

    init(from decoder: Decoder) throws {
        let value = try decoder.singleValueContainer()
        if value.decodeNil() { self = .null }
        else if let bool = try? value.decode(Bool.self) { self = .bool(bool) }
        else if let number = try? value.decode(Double.self) { self = .number(number) }
        else if let string = try? value.decode(String.self) { self = .string(string) }
        else if let array = try? value.decode([JSON].self) { self = .array(array) }
        else { self = .object(try value.decode([String: JSON].self)) }
    }

    static func read(_ path: String) throws -> JSON {
        try JSONDecoder().decode(JSON.self, from: Data(contentsOf: URL(fileURLWithPath: path)))
    }

    static func int(_ value: some BinaryInteger) -> JSON { .number(Double(value)) }
    static func float(_ value: Float) -> JSON { .number(Double(value)) }

    subscript(_ name: String) -> JSON {
        if case .object(let fields) = self { return fields[name] ?? .null }
        return .null
    }

    var isNull: Bool { self == .null }
    var list: [JSON] { if case .array(let list) = self { list } else { [] } }
    var fields: [String: JSON] { if case .object(let fields) = self { fields } else { [:] } }
    var string: String { if case .string(let string) = self { string } else { "" } }
    var number: Double { if case .number(let number) = self { number } else { .nan } }
    var floats: [Float] { list.map { Float($0.number) } }

    var description: String {
        switch self {
        case .null: "null"
        case .bool(let bool): "\(bool)"
        case .number(let number): "\(number)"
        case .string(let string): "\"\(string)\""
        case .array(let list): "[" + list.map(\.description).joined(separator: ", ") + "]"
        case .object(let fields): "{" + fields.map { "\"\($0)\": \($1)" }.sorted().joined(separator: ", ") + "}"
        }
    }
}

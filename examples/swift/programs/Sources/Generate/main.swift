// Writes on from a prompt, as it is written.
//
//   Generate BUNDLE ONNXRUNTIME_LIBRARY "prompt"
//
// For a bundle of the task "generation".

import Foundation
import Limbeck

let arguments = CommandLine.arguments
if arguments.count != 4 {
    FileHandle.standardError.write(Data("usage: Generate BUNDLE ONNXRUNTIME_LIBRARY \"prompt\"\n".utf8))
    exit(2)
}
do {
    let model = try Model(Environment(runtimePath: arguments[2]), path: arguments[1])
    // At most 128 tokens, or as many as the context has room for.
    let options = GenerateOptions.with { $0.context = .stop }
    // In an app this is the task of a screen: when the screen goes, the call ends. `stream` gives the same tokens as an
    // AsyncSequence.
    let found = try await model.concurrent.generate(arguments[3], options: options) { piece in
        FileHandle.standardOutput.write(Data(piece.text.utf8))
        return true
    }
    let seconds = Double(found.prefillNanoseconds + found.decodeNanoseconds + found.samplingNanoseconds) / 1e9
    let rate = String(format: "%.0f", Double(found.generatedTokens) / seconds)
    print("\n\(found.generatedTokens) tokens, \(found.finish), \(rate) tokens a second")
} catch {
    FileHandle.standardError.write(Data("\(error)\n".utf8))
    exit(1)
}

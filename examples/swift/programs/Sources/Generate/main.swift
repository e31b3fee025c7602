// Writes on from a prompt, and shows the text as it is written.
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
    // The likeliest token each time: set a temperature and a seed to draw. At the end of the
    // context the text ends, too.
    let options = GenerateOptions.with {
        $0.maxNewTokens = 200
        $0.context = .stop
    }
    // In an app this is the task of a screen: when the screen goes, the call ends. `stream` gives
    // the same tokens as an AsyncSequence.
    let found = try await model.concurrent.generate(arguments[3], options: options) { piece in
        // Whole characters; none with a token that is a part of one.
        FileHandle.standardOutput.write(Data(piece.text.utf8))
        return true // false ends the text here
    }
    let seconds = Double(found.prefillNanoseconds + found.decodeNanoseconds + found.samplingNanoseconds) / 1e9
    let rate = String(format: "%.1f", Double(found.generatedTokens) / seconds)
    print("\n\(found.generatedTokens) tokens, \(found.finish), \(rate) tokens a second")
} catch {
    FileHandle.standardError.write(Data("\(error)\n".utf8))
    exit(1)
}

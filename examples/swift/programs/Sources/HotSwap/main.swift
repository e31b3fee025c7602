// Classifies texts from standard input while a newer model replaces the one in use: no call
// fails for it, and a candidate that is worse is refused.
//
//   HotSwap BUNDLE ONNXRUNTIME_LIBRARY NEWER_BUNDLE < texts
//
// One text a line; the newer bundle is tried after the first one.

import Foundation
import Limbeck

let arguments = CommandLine.arguments
if arguments.count != 4 {
    FileHandle.standardError.write(Data("usage: HotSwap BUNDLE ONNXRUNTIME_LIBRARY NEWER_BUNDLE < texts\n".utf8))
    exit(2)
}
do {
    let environment = try Environment(runtimePath: arguments[2])
    let slot = try Slot(Model(environment, path: arguments[1]))
    var tried = false
    while let line = readLine() {
        // On the model that is in use at this moment.
        if let best = try slot.model().classify(line).best {
            print("model \(slot.generation): \(best.label)  \(best.probability)  \(line)")
        }
        if tried { continue }
        tried = true
        do {
            // A candidate that cannot be opened, does another task, is older, or fails its own
            // self-test is told, and the model in use stays.
            try slot.publish(Model(environment, path: arguments[3]))
        } catch {
            print("not replaced: \(error)")
        }
    }
} catch {
    FileHandle.standardError.write(Data("\(error)\n".utf8))
    exit(1)
}

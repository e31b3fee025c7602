// Finds names in texts, and says where they stand.
//
//   EntitiesKt BUNDLE ONNXRUNTIME_LIBRARY "text" ...
//
// For a bundle of the task "token-classification".

import io.github.limbeck.Environment
import io.github.limbeck.LimbeckException
import io.github.limbeck.Model
import kotlin.system.exitProcess

fun main(args: Array<String>) {
    if (args.size < 3) {
        System.err.println("usage: EntitiesKt BUNDLE ONNXRUNTIME_LIBRARY \"text\" ...")
        exitProcess(2)
    }
    try {
        Model.open(Environment(args[1]), args[0]).use { model ->
            for (tagging in model.tagBatch(args.drop(2))) {
                for ((label, text, span, score) in tagging.entities) {
                    println("$label  $score  UTF-16 ${span.start} to ${span.end}  $text")
                }
            }
        }
    } catch (failure: LimbeckException) {
        System.err.println(failure.message)
        exitProcess(1)
    }
}

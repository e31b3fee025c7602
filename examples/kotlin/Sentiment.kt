// Classifies texts with a bundle, and says how sure it is and how long it took.
//
//   SentimentKt BUNDLE ONNXRUNTIME_LIBRARY "text" ...
//
// bindings/kotlin/README.md says how to run it.

import io.github.limbeck.Environment
import io.github.limbeck.LimbeckException
import io.github.limbeck.Model
import kotlin.system.exitProcess

fun main(args: Array<String>) {
    if (args.size < 3) {
        System.err.println("usage: SentimentKt BUNDLE ONNXRUNTIME_LIBRARY \"text\" ...")
        exitProcess(2)
    }
    try {
        Model.open(Environment(args[1]), args[0]).use { model ->
            model.warmUp()
            for (text in args.drop(2)) {
                val found = model.classify(text)
                val usage = found.usage
                val millis = (usage.tokenizeNanos + usage.inferenceNanos + usage.postNanos) / 1e6
                val (label, _, probability) = found.best
                println("%s  %.3f  %2d tokens  %.2f ms  %s".format(label, probability, usage.tokensUsed, millis, text))
            }
        }
    } catch (failure: LimbeckException) {
        System.err.println(failure.message)
        exitProcess(1)
    }
}

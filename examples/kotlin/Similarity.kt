// Finds the text that is closest to the first one.
//
//   SimilarityKt BUNDLE ONNXRUNTIME_LIBRARY "query" "text" ...
//
// For a bundle of the task "sentence-embedding".

import io.github.limbeck.Environment
import io.github.limbeck.Limbeck
import io.github.limbeck.LimbeckException
import io.github.limbeck.Model
import kotlin.system.exitProcess

fun main(args: Array<String>) {
    if (args.size < 4) {
        System.err.println("usage: SimilarityKt BUNDLE ONNXRUNTIME_LIBRARY \"query\" \"text\" ...")
        exitProcess(2)
    }
    try {
        Model.open(Environment(args[1]), args[0]).use { model ->
            val query = model.embed(args[2])
            val texts = args.drop(3)
            val vectors = model.embedBatch(texts).map { it.vector }
            for ((index, similarity) in Limbeck.nearest(query.vector, vectors, texts.size)) {
                println("$similarity  ${texts[index]}")
            }
        }
    } catch (failure: LimbeckException) {
        System.err.println(failure.message)
        exitProcess(1)
    }
}

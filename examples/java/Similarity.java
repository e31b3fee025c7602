// Finds the text that is closest to the first one.
//
//   Similarity BUNDLE ONNXRUNTIME_LIBRARY "query" "text" ...
//
// For a bundle of the task "sentence-embedding".

import io.github.limbeck.Embedding;
import io.github.limbeck.Environment;
import io.github.limbeck.Limbeck;
import io.github.limbeck.LimbeckException;
import io.github.limbeck.Model;
import io.github.limbeck.Neighbour;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;

public final class Similarity {
    public static void main(String[] args) {
        if (args.length < 4) {
            System.err.println("usage: Similarity BUNDLE ONNXRUNTIME_LIBRARY \"query\" \"text\" ...");
            System.exit(2);
        }
        try (Model model = Model.open(new Environment(args[1]), args[0])) {
            Embedding query = model.embed(args[2]);
            List<String> texts = Arrays.asList(args).subList(3, args.length);
            List<float[]> vectors =
                model.embedBatch(texts).stream().map(Embedding::getVector).collect(Collectors.toList());
            for (Neighbour found : Limbeck.nearest(query.getVector(), vectors, texts.size())) {
                System.out.println(found.getSimilarity() + "  " + texts.get(found.getIndex()));
            }
        } catch (LimbeckException failure) {
            System.err.println(failure.getMessage());
            System.exit(1);
        }
    }
}

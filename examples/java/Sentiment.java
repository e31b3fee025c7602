// Classifies texts with a bundle, and says how sure it is and how long it took.
//
//   Sentiment BUNDLE ONNXRUNTIME_LIBRARY "text" ...
//
// bindings/kotlin/README.md says how to run it.

import io.github.limbeck.Classification;
import io.github.limbeck.Environment;
import io.github.limbeck.LimbeckException;
import io.github.limbeck.Model;
import io.github.limbeck.Usage;
import java.util.Arrays;

public final class Sentiment {
    public static void main(String[] args) {
        if (args.length < 3) {
            System.err.println("usage: Sentiment BUNDLE ONNXRUNTIME_LIBRARY \"text\" ...");
            System.exit(2);
        }
        try (Model model = Model.open(new Environment(args[1]), args[0])) {
            model.warmUp();
            for (String text : Arrays.asList(args).subList(2, args.length)) {
                Classification found = model.classify(text);
                Usage usage = found.getUsage();
                double millis = (usage.getTokenizeNanos() + usage.getInferenceNanos() + usage.getPostNanos()) / 1e6;
                System.out.printf("%s  %.3f  %2d tokens  %.2f ms  %s%n", found.getBest().getLabel(),
                    found.getBest().getProbability(), usage.getTokensUsed(), millis, text);
            }
        } catch (LimbeckException failure) {
            System.err.println(failure.getMessage());
            System.exit(1);
        }
    }
}

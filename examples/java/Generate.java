// Writes on from a prompt, as it is written.
//
//   Generate BUNDLE ONNXRUNTIME_LIBRARY "prompt"
//
// For a bundle of the task "generation".

import io.github.limbeck.ContextPolicy;
import io.github.limbeck.Environment;
import io.github.limbeck.GenerateOptions;
import io.github.limbeck.Generation;
import io.github.limbeck.LimbeckException;
import io.github.limbeck.Model;

public final class Generate {
    public static void main(String[] args) {
        if (args.length != 3) {
            System.err.println("usage: Generate BUNDLE ONNXRUNTIME_LIBRARY \"prompt\"");
            System.exit(2);
        }
        try (Model model = Model.open(new Environment(args[1]), args[0])) {
            // At most 128 tokens, or as many as the context has room for.
            GenerateOptions options = new GenerateOptions.Builder().context(ContextPolicy.STOP).build();
            Generation found = model.generate(args[2], options, piece -> {
                System.out.print(piece.getText());
                System.out.flush();
                return true;
            });
            double seconds = (found.getPrefillNanos() + found.getDecodeNanos() + found.getSamplingNanos()) / 1e9;
            System.out.printf("%n%d tokens, %s, %.0f tokens a second%n", found.getGeneratedTokens(), found.getFinish(),
                found.getGeneratedTokens() / seconds);
        } catch (LimbeckException failure) {
            System.err.println(failure.getMessage());
            System.exit(1);
        }
    }
}

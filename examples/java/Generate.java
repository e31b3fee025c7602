// Writes on from a prompt, and shows the text as it is written.
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
import java.util.Locale;

public final class Generate {
    public static void main(String[] args) {
        if (args.length != 3) {
            System.err.println("usage: Generate BUNDLE ONNXRUNTIME_LIBRARY \"prompt\"");
            System.exit(2);
        }
        try (Model model = Model.open(new Environment(args[1]), args[0])) {
            // The likeliest token each time: set a temperature and a seed to draw. At the end of the
            // context the text ends, too.
            GenerateOptions options =
                new GenerateOptions.Builder().maxNewTokens(200).context(ContextPolicy.STOP).build();
            Generation found = model.generate(args[2], options, piece -> {
                System.out.print(piece.getText()); // whole characters; none with a token that is a part of one
                System.out.flush();
                return true; // false ends the text here
            });
            double seconds = (found.getPrefillNanos() + found.getDecodeNanos() + found.getSamplingNanos()) / 1e9;
            String why = found.getFinish().name().toLowerCase(Locale.ROOT).replace('_', '-');
            System.out.printf("%n%d tokens, %s, %.1f tokens a second%n", found.getGeneratedTokens(), why,
                found.getGeneratedTokens() / seconds);
        } catch (LimbeckException failure) {
            System.err.println(failure.getMessage());
            System.exit(1);
        }
    }
}

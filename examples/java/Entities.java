// Finds names in texts, and says where they stand.
//
//   Entities BUNDLE ONNXRUNTIME_LIBRARY "text" ...
//
// For a bundle of the task "token-classification".

import io.github.limbeck.Entity;
import io.github.limbeck.Environment;
import io.github.limbeck.LimbeckException;
import io.github.limbeck.Model;
import io.github.limbeck.Tagging;
import java.util.Arrays;

public final class Entities {
    public static void main(String[] args) {
        if (args.length < 3) {
            System.err.println("usage: Entities BUNDLE ONNXRUNTIME_LIBRARY \"text\" ...");
            System.exit(2);
        }
        try (Model model = Model.open(new Environment(args[1]), args[0])) {
            for (Tagging tagging : model.tagBatch(Arrays.asList(args).subList(2, args.length))) {
                for (Entity entity : tagging.getEntities()) {
                    System.out.println(entity.getLabel() + "  " + entity.getScore() + "  UTF-16 "
                        + entity.getSpan().getStart() + " to " + entity.getSpan().getEnd() + "  " + entity.getText());
                }
            }
        } catch (LimbeckException failure) {
            System.err.println(failure.getMessage());
            System.exit(1);
        }
    }
}

// Classifies texts from standard input while a newer model replaces the one in use: no call
// fails for it, and a candidate that is worse is refused.
//
//   HotSwap BUNDLE ONNXRUNTIME_LIBRARY NEWER_BUNDLE < texts
//
// One text a line; the newer bundle is tried after the first one.

import io.github.limbeck.Environment;
import io.github.limbeck.LimbeckException;
import io.github.limbeck.Model;
import io.github.limbeck.Score;
import io.github.limbeck.Slot;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;

public final class HotSwap {
    public static void main(String[] args) throws IOException {
        if (args.length != 3) {
            System.err.println("usage: HotSwap BUNDLE ONNXRUNTIME_LIBRARY NEWER_BUNDLE < texts");
            System.exit(2);
        }
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        try {
            Environment environment = new Environment(args[1]);
            try (Model first = Model.open(environment, args[0]); Slot slot = new Slot(first)) {
                boolean tried = false;
                for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                    String text = line;
                    // On the model that is in use at this moment.
                    Score best = slot.withModel(model -> model.classify(text)).getBest();
                    System.out.println("model " + slot.getGeneration() + ": " + best.getLabel() + "  "
                        + best.getProbability() + "  " + text);
                    if (!tried) replace(environment, slot, args[2]);
                    tried = true;
                }
            }
        } catch (LimbeckException failure) {
            System.err.println(failure.getMessage());
            System.exit(1);
        }
    }

    /**
     * A candidate that cannot be opened, does another task, is older, or fails its own self-test is told, and the model
     * in use stays.
     */
    private static void replace(Environment environment, Slot slot, String bundle) {
        try (Model candidate = Model.open(environment, bundle)) {
            slot.publish(candidate);
        } catch (LimbeckException failure) {
            System.out.println("not replaced: " + failure.getMessage());
        }
    }
}

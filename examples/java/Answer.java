// Answers a question from a text of any length, and says where the answer stands.
//
//   Answer BUNDLE ONNXRUNTIME_LIBRARY "question" "text"
//
// For a bundle of the task "question-answering".

import io.github.limbeck.CallOptions;
import io.github.limbeck.Environment;
import io.github.limbeck.LimbeckException;
import io.github.limbeck.Model;

public final class Answer {
    public static void main(String[] args) {
        if (args.length != 4) {
            System.err.println("usage: Answer BUNDLE ONNXRUNTIME_LIBRARY \"question\" \"text\"");
            System.exit(2);
        }
        try (Model model = Model.open(new Environment(args[1]), args[0])) {
            // The three best; and no more than two seconds for a text that could be a book.
            CallOptions options = new CallOptions.Builder().topK(3).timeoutMillis(2000).build();
            for (io.github.limbeck.Answer answer : model.answer(args[2], args[3], options).getAnswers()) {
                System.out.println(answer.getScore() + "  UTF-16 " + answer.getSpan().getStart() + " to "
                    + answer.getSpan().getEnd() + "  " + answer.getText());
            }
        } catch (LimbeckException failure) {
            System.err.println(failure.getMessage());
            System.exit(1);
        }
    }
}

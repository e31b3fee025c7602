package io.github.limbeck;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.Test;

/** The API as Java sees it. */
class JavaTest {
    private static Model open(String name) {
        return Model.open(Fixtures.INSTANCE.getEnvironment(), Fixtures.INSTANCE.bundle(name));
    }

    @Test
    void everyTaskCanBeCalled() {
        try (Model model = open("tiny")) {
            Classification found = model.classify("good");
            assertEquals("positive", found.getBest().getLabel());
            assertTrue(found.getBest().getHolds());
            CallOptions options = new CallOptions.Builder().topK(1).overflow(Overflow.WINDOW).build();
            assertEquals(1, model.classifyBatch(List.of("good", "bad"), options).get(1).getLabels().size());
        }
        try (Model model = open("entities")) {
            String text = "🙂 Ada in London";
            for (Entity entity : model.tag(text).getEntities()) {
                assertEquals(entity.getText(), text.substring(entity.getSpan().getStart(), entity.getSpan().getEnd()));
            }
        }
        try (Model model = open("reader")) {
            assertEquals("Ada Lovelace", model.answer("Who?", "By Ada Lovelace").getBest().getText());
        }
        try (Model model = open("pairs")) {
            assertEquals(1, model.classifyPairs(List.of(new TextPair("a", "b"))).size());
            assertEquals(2, model.zeroShot("film", List.of("good", "bad")).getLabels().size());
            assertEquals(1, model.rerank("film", List.of("bad", "good")).get(0).getIndex());
        }
        try (Model model = open("embedder")) {
            float[] vector = model.embed("good").getVector();
            assertEquals(model.getEmbeddingSize(), vector.length);
            assertEquals(1f, Limbeck.similarity(vector, vector), 1e-6f);
            assertEquals(0, Limbeck.nearest(vector, List.of(vector), 3).get(0).getIndex());
        }
        try (Model model = open("masks")) {
            assertEquals(5, model.fillMask(model.getMaskToken()).getMasks().get(0).getGuesses().size());
        }
        try (Model model = open("order")) {
            assertTrue(model.order("who", "London").getProbability() > 0.5f);
            CallOptions options = new CallOptions.Builder().bothOrders(true).build();
            Order order = model.order("who", "London", options);
            assertEquals(-order.getLogit(), model.orderBatch(List.of(new TextPair("London", "who")), options).get(0).getLogit());
        }
        try (Model model = open("replaced")) {
            String text = "🙂 the flim";
            Replaced found = model.replaced(text).getSpans().get(0);
            assertEquals("flim", text.substring(found.getSpan().getStart(), found.getSpan().getEnd()));
            CallOptions options = new CallOptions.Builder().aggregation(Aggregation.AVERAGE).threshold(0.99f).build();
            Replacements nothing = model.replacedBatch(List.of(text), options).get(0);
            assertTrue(nothing.getSpans().isEmpty() && nothing.getTokens().contains(found));
        }
    }

    @Test
    void textCanBeWritten() {
        try (Model model = open("writer")) {
            GenerateOptions options = new GenerateOptions.Builder().maxNewTokens(6).stop("x").context(ContextPolicy.STOP).build();
            StringBuilder text = new StringBuilder();
            Generation found = model.generate("a", options, piece -> {
                text.append(piece.getText());
                return true;
            });
            assertEquals("b🙂.", found.getText());
            assertEquals(found.getText(), text.toString());
            assertEquals(Finish.LENGTH, found.getFinish());
            assertEquals(2, model.generateBatch(List.of("a", "b"), options).size());
            Prompt prompt = new Prompt("Q: a", List.of(new TextPair("Q: a\nA:", " b")));
            assertEquals(6, model.generate(prompt, options).getGeneratedTokens());
            ChooseOptions choose = new ChooseOptions.Builder().scoring(Scoring.SUM).build();
            assertEquals("b", model.choose(prompt, List.of("x", "b"), choose).getBest().getText());
            assertEquals(1, model.score(prompt, "b").getTokens());
            assertEquals(1, model.perplexity("ab", new PerplexityOptions.Builder().stride(4).build()).getTokens());
        }
    }

    @Test
    void slotsAndTokensCanBeUsed() {
        try (Model model = open("tiny"); Model later = open("later"); Slot slot = new Slot(model); Cancel cancel = new Cancel()) {
            assertEquals(2, slot.publish(later));
            assertEquals(8L, slot.<Long>withModel(now -> {
                try (Bundle bundle = now.bundle()) {
                    return bundle.getBuild();
                }
            }));
            cancel.trigger();
            CallOptions options = new CallOptions.Builder().cancel(cancel).build();
            assertThrows(LimbeckException.Cancelled.class, () -> model.classify("good", options));
        }
    }

    @Test
    void failuresAreCaughtByTheirClass() {
        LimbeckException failure = assertThrows(LimbeckException.NotFound.class, () -> Bundle.open("no-such.limbeck"));
        assertEquals(Status.NOT_FOUND, failure.getStatus());
        assertEquals(3, failure.getStatus().getCode());
        Limbeck.setLogger(LogLevel.ERROR, (level, message) -> { });
        Limbeck.setLogger(LogLevel.ERROR, null);
        assertEquals(0, Status.of(3).compareTo(Status.NOT_FOUND));
        assertTrue(Limbeck.getVersion().startsWith("0."));
        assertTrue(Limbeck.getOpenHandles() >= 0);
    }
}

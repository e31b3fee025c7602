use super::*;
use crate::data::{Example, Question};

#[test]
fn what_is_timed_is_all_that_a_model_reads() {
    let question = |question: &str, context: &str| Question {
        id: String::new(),
        question: question.to_owned(),
        context: context.to_owned(),
        answers: Vec::new(),
    };
    // The longest question is about the shortest text.
    let rows = Rows::Questions(vec![question("aaaaaaaa", "b"), question("a", "bb"), question("aa", "bbb")]);
    assert_eq!(row_of_quantile(&rows, Goal::Answers, 0.5), ("aa", Some("bbb")));
    assert_eq!(row_of_quantile(&rows, Goal::Answers, 0.9), ("aaaaaaaa", Some("b")));
    let pair = |text: &str, second: &str| Example {
        text: text.to_owned(),
        pair: Some(second.to_owned()),
        label: String::new(),
        source: String::new(),
    };
    let rows = Rows::Texts(vec![pair("a", "bbbbb"), pair("cc", "d")]);
    assert_eq!(row_of_quantile(&rows, Goal::Value, 0.5), ("a", Some("bbbbb")));
    let apart = Goal::Similarity { highest: 5.0 };
    assert_eq!(row_of_quantile(&rows, apart, 0.5), ("cc", None), "an embedding is of one text");
    assert_eq!(row_of_quantile(&Rows::Texts(Vec::new()), Goal::Class, 0.5), ("", None));
}

#[test]
fn a_row_that_no_program_can_be_given_is_not_timed() {
    let text =
        |text: &str| Example { text: text.to_owned(), pair: None, label: "1".to_owned(), source: "-".to_owned() };
    let long = "é".repeat(100_000);
    let rows = Rows::Texts(["b", "cc", "d\0d", &long, &long].map(text).to_vec());
    assert_eq!(row_of_quantile(&rows, Goal::Class, 0.5), ("cc", None), "the third has a zero byte");
    assert_eq!(row_of_quantile(&rows, Goal::Class, 0.9), ("cc", None));
    let rows = Rows::Texts(vec![text(&long)]);
    let (cut, second) = row_of_quantile(&rows, Goal::Class, 0.5);
    assert_eq!((cut.len(), second), (100_000, None), "what of it can be given");
}

use super::*;
use crate::arch::{Head, parameter_layout};
use crate::check::tests::{World, tiny, tokenizer};
use crate::data::{Example, Question};

#[test]
fn texts_are_read_as_the_data_says() {
    let world = World::new();
    world.model("named", &tiny(), Some(&["bad", "good"]), &tokenizer());
    let row = |label: &str| Example {
        text: "the film was good ".repeat(9),
        pair: None,
        label: label.to_owned(),
        source: String::new(),
    };
    let rows = Rows::Texts(vec![row("good"), row("bad")]);
    let read = |folder: &str, data: Data| {
        let subject = Subject::read(&world.path(folder), data, &world.path("out")).unwrap();
        subject.all.iter().map(|example| example.ids.len()).collect::<Vec<_>>()
    };
    let usual = Data::new(&rows, Goal::Class);
    assert_eq!(read("named", usual), [24, 24], "as many as the model has positions");
    assert_eq!(read("named", Data { max_tokens: Some(6), ..usual }), [6, 6]);
    let long = Data { max_tokens: Some(25), ..usual };
    assert!(Subject::read(&world.path("named"), long, &world.path("out")).is_err());

    let config = ModelConfig::from_hf(&tiny()).unwrap();
    let turn = crate::seeded(5);
    let params = Params::initialise(&parameter_layout(&config, Head::Span), Device::Cpu);
    drop(turn);
    let file = world.path("tokenizer-source.json");
    checkpoint::save(&world.path("reader"), &config, &HeadInfo::new(Head::Span), &params, &file).unwrap();
    let rows = Rows::Questions(vec![Question {
        id: String::new(),
        question: "was it good".to_owned(),
        context: "the film was good ".repeat(9),
        answers: vec![(0, 3)],
    }]);
    // 4 of 10 tokens are the text's; of 36 each window but the first brings as many as it does not share.
    let windows =
        |stride| read("reader", Data { max_tokens: Some(10), stride, ..Data::new(&rows, Goal::Answers) }).len();
    assert_eq!((windows(0), windows(2)), (9, 17));
}

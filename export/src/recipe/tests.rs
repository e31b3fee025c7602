use super::*;

const MINIMAL: &str = "id = \"x\"\n[data]\nfiles = [\"a.csv\"]\n[student]\nlayers = 3\n";

#[test]
fn defaults_are_written_out_and_read_back() {
    let recipe = Recipe::parse(MINIMAL).unwrap();
    let written = recipe.to_toml().unwrap();
    assert!(written.contains("temperature = 2.0") && written.contains("weight_decay = 0.01"), "{written}");
    assert_eq!(Recipe::parse(&written).unwrap(), recipe);
}

#[test]
fn the_recipe_of_the_documentation_is_one() {
    let page = include_str!("../../../docs/distillation.md");
    let text = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let recipe = Recipe::parse(text).unwrap();
    assert_eq!((recipe.stages.len(), recipe.student.hidden_size), (2, Some(312)));
    for method in [
        Method::Distilbert,
        Method::Tinybert,
        Method::Minilm,
        Method::Minilmv2,
        Method::Xtremedistil,
        Method::LayersFirst,
        Method::AlbertShared,
        Method::DistilbertQa,
        Method::Pkd,
        Method::Mobilebert,
        Method::Ternarybert,
        Method::WellRead,
        Method::Textbrewer,
        Method::Theseus,
    ] {
        for stage in method.stages(&recipe.student.train) {
            assert!(page.contains(&format!("*{}*", stage.name)), "{}", stage.name);
            for loss in &stage.losses {
                assert!(page.contains(&format!("| `{}` | ", loss.name())), "{}", loss.name());
            }
        }
    }
}

/// What a method does with texts without labels.
#[test]
fn methods_read_texts_without_labels() {
    let stages = |method: &str| -> Vec<(String, Texts, Vec<&str>)> {
        let text = MINIMAL.replace("[data]", &format!("method = \"{method}\"\n[data]\nunlabelled = [\"more.txt\"]"));
        let stages = Recipe::parse(&text).unwrap().stages;
        stages
            .iter()
            .map(|stage| (stage.name.clone(), stage.on, stage.losses.iter().map(LossTerm::name).collect()))
            .collect()
    };
    let named = |name: &str, on, losses: &[&'static str]| (name.to_owned(), on, losses.to_vec());
    assert_eq!(
        stages("distilbert"),
        [
            named("distill-unlabelled", Texts::Unlabelled, &["soft-targets", "hidden-cosine"]),
            named("distill", Texts::Train, &["soft-targets", "labels", "hidden-cosine"])
        ]
    );
    // As published (Turc 2019): answers on texts without labels, then the labels.
    assert_eq!(
        stages("well-read"),
        [named("answers", Texts::Unlabelled, &["soft-targets"]), named("finetune", Texts::Train, &["labels"])]
    );
    let xtremedistil = stages("xtremedistil");
    let names: Vec<&str> = xtremedistil.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, ["representation", "answers", "prediction"]);
    let unfreeze: Vec<f64> =
        Method::Xtremedistil.stages(&TrainOptions::default()).into_iter().map(|s| s.train.unwrap().unfreeze).collect();
    assert_eq!(unfreeze, [0.0, 0.5, 0.5]);
}

/// A method's stages on the training rows read those that were augmented, as in TinyBERT's paper; those on a corpus stay.
#[test]
fn methods_read_augmented_rows() {
    let on = |method: &str, data: &str| -> Vec<Texts> {
        let text = MINIMAL.replace("[data]", &format!("method = \"{method}\"\n[data]\n{data}"));
        let recipe = Recipe::parse(&(text + "[augment]\ncopies = 3\n")).unwrap();
        assert_eq!(Recipe::parse(&recipe.to_toml().unwrap()).unwrap(), recipe);
        recipe.stages.iter().map(|stage| stage.on).collect()
    };
    assert_eq!(on("tinybert", ""), [Texts::Augmented; 2]);
    assert_eq!(on("tinybert-general", "corpus = [\"a.txt\"]\n"), [Texts::Corpus, Texts::Augmented, Texts::Augmented]);
    assert_eq!(on("distilbert", "unlabelled = [\"a.txt\"]\n"), [Texts::Unlabelled, Texts::Augmented]);
}

#[test]
fn mistakes_are_named() {
    for (change, expected) in [
        (("id = \"x\"", "id = \"x\"\ntask = \"pair-classification\""), "data.columns.pair is missing"),
        (("files = [\"a.csv\"]", "files = [\"a.csv\"]\ncolumns = { pair = \"b\" }"), "reads no second text"),
        (
            (
                "files = [\"a.csv\"]",
                "files = [\"a.csv\"]\nunlabelled = [\"b.csv\"]\n[[stages]]\nname = \"a\"\nlosses = [{ loss = \"labels\" }]",
            ),
            "no stage reads it",
        ),
        (
            (
                "layers = 3",
                "layers = 3\n[[stages]]\nname = \"a\"\non = \"unlabelled\"\nlosses = [{ loss = \"soft-targets\" }]",
            ),
            "name their files in data.unlabelled",
        ),
        (
            (
                "layers = 3",
                "layers = 3\n[[stages]]\nname = \"a\"\non = \"unlabelled\"\nlosses = [{ loss = \"labels\" }]",
            ),
            "labels are what on = \"unlabelled\" does not have",
        ),
        (
            ("id = \"x\"\n[data]", "id = \"x\"\ntask = \"question-answering\"\n[data]\nunlabelled = [\"b.json\"]"),
            "questions cannot be read without their answers",
        ),
        (
            (
                "layers = 3",
                "layers = 3\n[augment]\ncopies = 2\n[[stages]]\nname = \"a\"\nlosses = [{ loss = \"labels\" }]",
            ),
            "[augment] is given, and no stage reads what it makes",
        ),
        (
            ("files = [\"a.csv\"]", "files = [\"a.csv\"]\ncorpus = [\"b.txt\"]"),
            "data.corpus is given, and no stage reads it",
        ),
        (
            (
                "files = [\"a.csv\"]",
                "files = [\"a.csv\"]\ncorpus = [\"b.txt\"]\n[[stages]]\nname = \"a\"\non = \"corpus\"\nfrom = \"pretrained\"\n\
                 masking = { draw = \"words\", smoothing = 0.5 }\nlosses = [{ loss = \"hidden-states\" }]\n[[stages]]\nname = \"b\"\n\
                 losses = [{ loss = \"labels\" }]",
            ),
            "masking.smoothing is for draw = \"batch\" alone",
        ),
        (("layers = 3", "layers = 0"), "student.layers"),
        (("id = \"x\"", "id = \"x/y\""), "id \"x/y\""),
        (("id = \"x\"", "id = \"x\"\nsede = 3"), "sede"),
        (("files = [\"a.csv\"]", "train = \"a.csv\""), "`train`, `dev` and `test`"),
        (("files = [\"a.csv\"]", ""), "data"),
        (
            (
                "layers = 3",
                "layers = 3\n[[stages]]\nname = \"a\"\nlosses = [{ loss = \"soft-targets\", temperature = 0.0 }]",
            ),
            "temperature",
        ),
        (("layers = 3", "layers = 3\n[[stages]]\nname = \"a\"\nlosses = [{ loss = \"soft\" }]"), "soft"),
        (("layers = 3", "layers = 3\n[[stages]]\nname = \"a\"\nlosses = []"), "no losses"),
        (
            ("id = \"x\"", "id = \"x\"\nlabels = \"number\"\nmethod = \"tinybert\""),
            "soft-cross-entropy is for one label",
        ),
        (
            (
                "layers = 3",
                "layers = 3\n[teacher]\nsource = \"finished\"\n[[stages]]\nname = \"a\"\nfrom = \"pretrained\"\n\
                 losses = [{ loss = \"hidden-cosine\" }]\n[[stages]]\nname = \"b\"\nlosses = [{ loss = \"labels\" }]",
            ),
            "comes finished",
        ),
        (("id = \"x\"", "id = \"x\"\nseeds = [1, 1]"), "each once"),
        (
            ("layers = 3", "layers = 3\n[[stages]]\nname = \"a\"\nreplacing = 1.5\nlosses = [{ loss = \"labels\" }]"),
            "replacing is a probability",
        ),
        (
            (
                "layers = 3",
                "layers = 3\n[[stages]]\nname = \"a\"\nreplacing = 0.5\n\
                 losses = [{ loss = \"labels\" }, { loss = \"hidden-states\" }]",
            ),
            "leave hidden-states out",
        ),
        (
            (
                "layers = 3",
                "layers = 3\n[[stages]]\nname = \"a\"\n\
                 losses = [{ loss = \"labels\", weight = 0.0 }, { loss = \"hidden-states\" }]",
            ),
            "does not train the head",
        ),
        (
            (
                "layers = 3",
                "layers = 3\n[[stages]]\nname = \"a\"\nlosses = [{ loss = \"labels\", weight = { from = 1.0, to = 0.0, form = 2.0 } }]",
            ),
            "a number, or a line from one to another",
        ),
        (
            (
                "layers = 3",
                "layers = 3\n[[stages]]\nname = \"a\"\nlosses = [{ loss = \"hidden-states\" }]\ntrain = { unfreeze = 0.5 }\n\
                 [[stages]]\nname = \"b\"\nlosses = [{ loss = \"labels\" }]",
            ),
            "stage a: unfreeze begins with the head alone",
        ),
    ] {
        let text = MINIMAL.replace(change.0, change.1);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recipe.toml");
        std::fs::write(&path, &text).unwrap();
        let error = format!("{:#}", Recipe::read(&path).unwrap_err());
        assert!(error.contains(expected), "{error}");
    }
}

/// TinyBERT's released code; a teacher that has such a head hands it on.
#[test]
fn a_head_on_relu_of_what_is_pooled_has_no_dropout() {
    let student = |more: &str| toml::from_str::<Student>(&format!("layers = 2{more}")).unwrap();
    let bert = crate::arch::preset("bert-base-uncased").unwrap().config;
    let plain = student("").config(&bert).unwrap();
    assert_eq!((plain.pooled_relu, plain.head_dropout), (false, 0.1));
    let relu = student("\npooled_relu = true").config(&bert).unwrap();
    assert_eq!((relu.pooled_relu, relu.head_dropout), (true, 0.0));
    assert!(student("").config(&relu).unwrap().pooled_relu);
    for (name, family) in [("distilbert-base-uncased", "distilbert"), ("all-mpnet-base-v2", "mpnet")] {
        let other = crate::arch::preset(name).unwrap().config;
        let error = student("\npooled_relu = true").config(&other).unwrap_err().to_string();
        assert!(error.contains(&format!("a {family}'s classifier reads no pooler")), "{error}");
    }
}

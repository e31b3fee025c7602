use super::*;

const MINIMAL: &str = "tokenizer = \"t\"\n[model]\npreset = \"bert-base-uncased\"\n[data]\ntrain = [\"a.txt\"]\n\
                       [objective]\nkind = \"mlm\"\n";

#[test]
fn defaults_are_the_objectives_and_read_back() {
    let recipe = PretrainRecipe::parse(MINIMAL).unwrap();
    assert_eq!(recipe.train, Objective::train(ObjectiveKind::Mlm));
    assert!(!recipe.train.optimizer.bias_correction && recipe.train.optimizer.epsilon == 1e-6);
    assert_eq!(PretrainRecipe::parse(&recipe.to_toml().unwrap()).unwrap(), recipe);
    let own = format!("{}[train]\nsteps = 5\n[train.optimizer]\nkind = \"lamb\"\n", MINIMAL.replace("mlm", "rtd"));
    let recipe = PretrainRecipe::parse(&own).unwrap();
    assert_eq!((recipe.train.steps, recipe.train.learning_rate), (Some(5), 5e-4));
    assert!(!recipe.train.optimizer.bias_correction && recipe.objective.weight() == 50.0);
}

#[test]
fn masking_is_the_objectives_but_for_what_is_said() {
    let of = |kind: &str, table: &str, family| {
        let own = MINIMAL.replace("kind = \"mlm\"", &format!("kind = \"{kind}\"\nmasking = {{ {table} }}"));
        PretrainRecipe::parse(&own).and_then(|recipe| {
            assert_eq!(PretrainRecipe::parse(&recipe.to_toml()?)?, recipe);
            recipe.objective.masking(family)
        })
    };
    let base = Masking { draw: Draw::EachToken, ..Masking::default() };
    let all_masked = Masking { draw: Draw::EachText, masked: 1.0, kept: 0.0, ..base };
    for (kind, table, family, expected) in [
        ("mlm", "", Family::Bert, base),
        ("mlm", "share = 0.25", Family::Bert, Masking { share: 0.25, ..base }),
        ("mlm", "most = 20", Family::Albert, Masking { draw: Draw::NGrams, most: Some(20), ..base }),
        ("mlm", "draw = \"words\"", Family::Albert, Masking { draw: Draw::Words, ..base }),
        (
            "mlm",
            "draw = \"batch\", smoothing = 0.5",
            Family::Bert,
            Masking { smoothing: 0.5, draw: Draw::Batch, ..base },
        ),
        ("rtd", "share = 0.25", Family::Electra, Masking { share: 0.25, ..all_masked }),
        ("rtd", "masked = 0.85", Family::Electra, Masking { masked: 0.85, ..all_masked }),
        (
            "rtd",
            "draw = \"electra-code\"",
            Family::Electra,
            Masking { draw: Draw::ElectraCode, masked: 0.85, kept: 0.15, ..all_masked },
        ),
        (
            "rtd",
            "draw = \"electra-code\", masked = 1.0, kept = 0.0",
            Family::Electra,
            Masking { draw: Draw::ElectraCode, ..all_masked },
        ),
    ] {
        let found = of(kind, table, family).unwrap();
        assert_eq!(found, expected, "{kind} {table}");
        assert_eq!(MaskingChoice::from(found).over(base, "again").unwrap(), found);
    }
    for (kind, table, expected) in [
        ("mlm", "most = 20", "masking.most"),
        ("mlm", "draw = \"words\", longest = 2", "masking.longest"),
        ("mlm", "smoothing = 0.7", "masking.smoothing"),
        ("rtd", "most = 20", "masking.most"),
        ("mlm", "shares = 0.2", "shares"),
    ] {
        let error = format!("{:#}", of(kind, table, Family::Bert).unwrap_err());
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn the_recipes_of_documentation_and_examples_are_some() {
    let page = include_str!("../../../../docs/pretraining.md");
    let recipes: Vec<(Option<u64>, ObjectiveKind, bool)> = page
        .split("```toml\n")
        .skip(1)
        .map(|rest| PretrainRecipe::parse(rest.split("```").next().unwrap()).unwrap())
        .map(|recipe| (recipe.train.steps, recipe.objective.kind, recipe.teacher.is_some()))
        .collect();
    assert_eq!(recipes, [(Some(20_000), ObjectiveKind::Rtd, false), (Some(1_500), ObjectiveKind::Clm, true)]);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/recipes/pretrain");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            PretrainRecipe::read(&path).unwrap();
            count += 1;
        }
    }
    assert_eq!(count, 23);
}

#[test]
fn teachers_have_distilberts_weights_and_mistakes_are_named() {
    const TAUGHT: &str = "[teacher]\nmodel = \"x\"\n[data]\ntrain = [\"a.txt\"]\n[objective]\nkind = \"clm\"\n";
    let recipe = PretrainRecipe::parse(TAUGHT).unwrap();
    let teacher = recipe.teacher.clone().unwrap();
    assert_eq!(teacher, TeacherRecipe::new("x"));
    let weights = [teacher.soft_targets, teacher.temperature, teacher.next_token, teacher.hidden_cosine];
    assert_eq!((weights, teacher.control), ([5.0, 2.0, 2.0, 1.0], true));
    assert_eq!(PretrainRecipe::parse(&recipe.to_toml().unwrap()).unwrap(), recipe);
    for (more, expected) in [
        ("soft_target = 1.0", "soft_target"),
        ("soft_targets = -1.0", "soft_targets must be at least 0"),
        ("hidden_cosine = nan", "hidden_cosine must be at least 0"),
        ("temperature = 0.0", "temperature must be above 0"),
        ("soft_targets = 0.0\nhidden_cosine = 0.0", "control = false"),
        ("soft_targets = 0.0\nhidden_cosine = 0.0\nnext_token = 0.0", "all weights are 0"),
        ("[model]\npreset = \"gpt2\"\nstart = \"y\"", "either `preset`"),
        ("[model]\nhidden_size = 32", "has its sizes"),
        ("layer_map = [0]\n[model]\npreset = \"gpt2\"", "layer_map is for"),
    ] {
        let text = TAUGHT.replace("model = \"x\"\n", &format!("model = \"x\"\n{more}\n"));
        let error = format!("{:#}", PretrainRecipe::parse(&text).unwrap_err());
        assert!(error.contains(expected), "{more}: {error}");
    }
    let error = PretrainRecipe::parse(&format!("flops = 1e12\n{TAUGHT}")).unwrap_err().to_string();
    assert!(error.contains("give train.steps"), "{error}");
}

#[test]
fn mistakes_are_named() {
    for (change, expected) in [
        (("kind = \"mlm\"", "kind = \"mml\""), "mml"),
        (("kind = \"mlm\"", "kind = \"mlm\"\nsentense = \"sop\""), "sentense"),
        (("kind = \"mlm\"", "kind = \"rtd\"\nsentence = \"sop\""), "beside mlm only"),
        (("kind = \"mlm\"", "kind = \"rtd\"\ngenerator_size = 0.0"), "generator_size"),
        (("kind = \"mlm\"", "kind = \"mlm\"\nmasking = { share = 1.5 }"), "masking.share"),
        (("kind = \"mlm\"", "kind = \"mlm\"\ngenerator_size = 0.5"), "generator_size is for"),
        (("kind = \"mlm\"", "kind = \"clm\"\ndiscriminator_weight = 1.0"), "discriminator_weight is for"),
        (("kind = \"mlm\"", "kind = \"clm\"\nduplicates = 2"), "duplicates is for"),
        (("kind = \"mlm\"", "kind = \"clm\"\nshort_sequences = 0.0"), "short_sequences is for"),
        (("kind = \"mlm\"", "kind = \"clm\"\nmasking = { share = 0.2 }"), "masking is for"),
        (("kind = \"mlm\"", "kind = \"mlm\"\n[train]\nsteps = 0"), "steps"),
        (("kind = \"mlm\"", "kind = \"mlm\"\n[train]\nstep = 1"), "step"),
        (("[\"a.txt\"]", "[]"), "data.train"),
        (("preset = \"bert-base-uncased\"", ""), "either `preset`"),
        (("preset = \"bert-base-uncased\"", "start = \"x\"\nlayers = 2"), "leave the sizes out"),
        (
            ("preset = \"bert-base-uncased\"", "preset = \"bert-base-uncased\"\ninitializer_range = 0"),
            "initializer_range",
        ),
        (("tokenizer = \"t\"", ""), "limbeck tokenizer train"),
        (("tokenizer = \"t\"", "tokenizer = \"t\"\nflops = -1.0"), "flops"),
        (("[data]", "[data]\nend_of_text = \"<end>\""), "end_of_text is for clm"),
        (("[data]", "[teacher]\nmodel = \"x\"\n[data]"), "distilbert-general"),
    ] {
        let error = format!("{:#}", PretrainRecipe::parse(&MINIMAL.replace(change.0, change.1)).unwrap_err());
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

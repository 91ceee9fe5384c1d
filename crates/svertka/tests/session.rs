//! A session answers as a model with a plan does, from the same file.

use svertka::{Cpu, Model, Network, Plan, Session, Tensor, Weights};

fn noise(shape: &[usize]) -> Tensor {
    let len = shape.iter().product::<usize>();
    let values: Vec<f32> = (0..len).map(|i| (i * 7919 % 1009) as f32 / 504.5 - 1.0).collect();
    Tensor::new(shape, &values).unwrap()
}

#[test]
fn a_session_gives_the_bits_of_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let networks = [
        // Large and small parameters, folded ones and ones that each run reads.
        (
            "conv40 bn relu conv40k5 relu pool2 dwconv3 bn silu flatten linear70 relu linear3 softmax",
            [3, 12, 14],
        ),
        ("conv48 prelu conv48 bn gap linear5", [20, 9, 7]),
        ("bn conv4 linear2", [1, 5, 5]),
    ];
    for (text, shape) in networks {
        let graph = Network::from_text(text, &shape, 3).unwrap().finish();
        let path = folder.path().join("model.onnx");
        Model::new(graph).save(&path).unwrap();
        let cpu = Cpu::new(2);
        let model = Model::load(&path).unwrap();
        let shapes = model.graph.input_shapes(2);
        let x = noise(&shapes[0]);
        let mut plan = Plan::new(&model.graph, &shapes, Weights::Constant, &cpu).unwrap();
        plan.run(&cpu, model.graph.parameters(), &[&x], 0).unwrap();
        let mut session = Session::open(&path, 2, &cpu).unwrap();
        assert_eq!(session.input_shapes(), shapes);
        for _ in 0..2 {
            session.run(&cpu, &[&x]).unwrap();
            assert_eq!(session.output(0), plan.output(0), "{text}");
            assert_eq!(session.output_shape(0), plan.output_shape(0));
        }
        assert!(session.run(&cpu, &[&noise(&[1, 2])]).is_err());
    }
}

#[test]
fn a_file_read_in_parts_is_the_file_read_whole() {
    let folder = tempfile::tempdir().unwrap();
    let graph =
        Network::from_text("conv40 bn relu conv40 flatten linear7", &[3, 10, 10], 3).unwrap().finish();
    let path = folder.path().join("model.onnx");
    let model = Model::new(graph);
    model.save(&path).unwrap();
    let whole = Model::from_bytes(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(Model::load(&path).unwrap(), whole);
    let cpu = Cpu::new(1);
    for bytes in [&b"\x89PNG\r\n\x1a\n rest"[..], b"", b"hello"] {
        std::fs::write(&path, bytes).unwrap();
        let expected = Model::load(&path).unwrap_err().to_string();
        assert!(expected.contains("ONNX"), "{expected}");
        assert_eq!(Session::open(&path, 1, &cpu).err().map(|error| error.to_string()), Some(expected));
    }
    let bytes = whole.to_bytes().unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert!(Session::open(&path, 1, &cpu).is_err() && Model::load(&path).is_err());
}

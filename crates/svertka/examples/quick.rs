//! Scratch.
use svertka::train::*; use svertka::data::*; use svertka::*;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let t = std::time::Instant::now();
    let d = Dataset::open(&a[1], &OpenOptions::default()).unwrap();
    println!("open {:?} train {} val {:?} test {:?}", t.elapsed(), d.train.len(), d.val.as_ref().map(|s| s.len()), d.test.as_ref().map(|s| s.len()));
    let p = d.preprocessing().unwrap();
    println!("{p:?} {:?}", t.elapsed());
    let shape = [p.channels, p.height, p.width];
    let text = format!("{} linear{}", a[2], d.classes.len());
    let seed: u64 = a.get(5).map_or(0, |s| s.parse().unwrap());
    let g = Network::from_text(&text, &shape, seed).unwrap().finish();
    let cpu = Cpu::new(0);
    let mut config = TrainConfig { epochs: a[3].parse().unwrap(), augment: Augment::default_for(p.height, p.width, p.channels), seed, ..TrainConfig::default() };
    if let Some(lr) = a.get(4) { config.lr = lr.parse().unwrap(); }
    if let Ok(b) = std::env::var("BATCH") { config.batch_size = b.parse().unwrap(); }
    println!("{:?}", config.augment);
    let f = tempfile::tempdir().unwrap();
    if std::env::var("PROFILE").is_ok() {
        let mut s = Step::new(&g, &config, config.batch_size, &cpu).unwrap();
        let mut l = Loader::new(&d.train, &p, LoaderOptions{batch: config.batch_size, shuffle: true, augment: config.augment.clone(), ..Default::default()}).unwrap();
        let b = l.next_batch().unwrap().unwrap().clone();
        drop(l);
        let mut m: std::collections::BTreeMap<String, f64> = Default::default();
        for i in 0..12 { s.profile(&cpu, &b.pictures, &b.targets, |n, d| if i>1 { *m.entry(n.to_string()).or_default() += d.as_secs_f64()*100.0 }).unwrap(); }
        let mut v: Vec<_> = m.into_iter().collect(); v.sort_by(|a,b| b.1.total_cmp(&a.1));
        println!("total {:.2} ms, memory {} MB", v.iter().map(|x| x.1).sum::<f64>(), s.memory()>>20);
        for (n, t) in v.iter().take(40) { println!("{t:8.3} ms {n}"); }
        let t = std::time::Instant::now(); let mut n=0; let mut l = Loader::new(&d.train, &p, LoaderOptions{batch: config.batch_size, shuffle: true, augment: config.augment.clone(), ..Default::default()}).unwrap();
        while let Some(_) = l.next_batch().unwrap() { n+=1; if n==50 {break} } println!("loader {:?} a batch", t.elapsed()/n);
        return;
    }
    let o = train(&g, &d, &config, f.path(), &cpu, &mut |e| if let Event::Epoch(r) = e { println!("{:2} {:.4} {:.4} val {:.4} {:.4} {:.1}s {}", r.epoch, r.train_loss, r.train_accuracy, r.val_loss, r.val_accuracy, r.seconds, r.best) }).unwrap();
    let mut c = Classifier::new(&o.model.graph, 64, &cpu).unwrap();
    let e = c.evaluate(&cpu, o.model.graph.parameters(), d.test.as_ref().unwrap(), &p).unwrap();
    println!("test {:.4} loss {:.4} in {:.1}s", e.confusion.accuracy(), e.loss, o.seconds);
}

fn main() {
    for s in vb_sim::protocol::known_bad() {
        let t = std::time::Instant::now();
        let sound = vb_sim::protocol::Scenario { rules: vb_commit::rules::Rules::SOUND, ..s.clone() };
        let r = vb_sim::protocol::explore(&s, true);
        println!("{}: {} states {:?}\n{}", s.name, r.states, t.elapsed(), r.violation.as_deref().unwrap_or("NOT FOUND"));
        let t = std::time::Instant::now();
        let r = vb_sim::protocol::explore(&sound, false);
        println!("   sound: {} states {} steps {:?} {:?}", r.states, r.steps, r.violation, t.elapsed());
    }
}

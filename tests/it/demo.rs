//! `medconsult serve --demo` never reaches beyond the machine; consultation.rs has how it comes up and what can be done with it.

use std::path::Path;
use std::process::Stdio;

use reqwest::Client;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;
use tokio::time::timeout;

use crate::faults::{PATIENCE, data_dir, program};

/// A demo that runs.
pub struct Demo {
    child: Child,
    pub root: String,
}

impl Demo {
    pub async fn start(data_dir: &Path, settings: &[(&str, &str)]) -> Demo {
        let mut child = program(data_dir)
            .envs(settings.iter().copied())
            .args(["serve", "--demo"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let root = timeout(PATIENCE, async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if let Some(url) = line.split_whitespace().find(|word| word.starts_with("http")) {
                    return url.to_owned();
                }
            }
            panic!("the demo ended before it was ready");
        });
        let root = root.await.expect("the demo gets ready");
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Demo { child, root }
    }

    pub async fn get(&self, path: &str) -> String {
        let client = Client::builder().no_proxy().build().unwrap();
        let answer = client.get(format!("{}{path}", self.root)).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.text().await.unwrap()
    }

    /// Under a name that somebody else owns it does not answer (DNS rebinding).
    pub async fn is_not_reached_under(&self, name: &str) {
        let client = Client::builder().no_proxy().build().unwrap();
        let request = client.get(format!("{}/demo", self.root)).header("host", name);
        assert_eq!(request.send().await.unwrap().status(), 421);
    }

    pub async fn stop(mut self) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
        assert!(self.child.wait().await.unwrap().success());
    }
}

#[tokio::test]
async fn the_demo_is_for_this_machine_alone() {
    for (name, value, reason) in [
        ("MEDCONSULT_LISTEN", "0.0.0.0:0", "loopback address"),
        ("MEDCONSULT_PUBLIC_URL", "https://clinic.example", "no public address"),
        (
            "MEDCONSULT_MAIL_SERVER",
            "smtp://mail.example",
            "no mail to other machines",
        ),
    ] {
        let output = program(&data_dir())
            .args(["serve", "--demo"])
            .env("MEDCONSULT_AUTH", "on")
            .env(name, value)
            .output()
            .await
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(reason), "{name}: {said}");
    }
}

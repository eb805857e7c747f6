sed -i 's#CARGO_HOME=/opt/cargo#CARGO_HOME=$HOME/.cargo#' /home/runner/user2.sh
mkdir -p /home/runner/.cargo; cp -r /opt/cargo/registry /home/runner/.cargo/; chown -R runner: /home/runner/.cargo
runuser -u runner -- bash -c "cd; bash user2.sh $*"

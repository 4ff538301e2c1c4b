# Sourced by planted.sh of infra-aws and of infra-gcp: plants mistakes, one at a time, in a copy of the configuration.

# noticed FILE EXPRESSION: changes FILE by sed in a copy, and succeeds if Terraform or a rule refuses it. The caller defines
# `rules_hold`, which runs the tests and the rules on the configuration in the current folder, and fails if one of them does.
noticed() {
  local copy=$work/planted
  rm -rf "$copy"
  copy_to "$copy"
  sed -i "$2" "$copy/$1"
  if cmp -s "$copy/$1" "$here/../$1"; then
    echo "the mistake could not be planted: $1 has changed"
    return 1
  fi
  cd "$copy" || return 1
  cp -r "$work/.terraform" .
  [ ! -e "$work/lock.hcl" ] || cp "$work/lock.hcl" .terraform.lock.hcl
  ! { terraform validate -no-color && rules_hold; }
}

# tested FILE RUN…: runs a test with the variables of prod, then the rules on the states of these runs.
tested() {
  local file=$1 run
  shift
  terraform test -no-color -json -verbose -var-file=env/prod.tfvars -filter="tests/$file.tftest.hcl" >out.json || return 1
  for run in "$@"; do python3 "$here/check_state.py" "$run" <out.json || return 1; done
}

# plant_each WORD: plants each entry of the array `mistakes` (description | file | sed expression) whose description has the word.
plant_each() {
  local mistake what file expression
  for mistake in "${mistakes[@]}"; do
    IFS='|' read -r what file expression <<<"$mistake"
    [[ $what == *"$1"* ]] || continue
    run "refused: $what" noticed "$file" "$expression"
  done
  finish
}

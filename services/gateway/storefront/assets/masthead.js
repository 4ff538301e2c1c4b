// The masthead's two buttons: the basket and the account.

import { askWho } from "./account.js";
import { openBasket } from "./basket.js";
import { changes, count, customer } from "./customer.js";

const account = document.querySelector("#open-account");
const basketButton = document.querySelector("#open-basket");

function showCustomer() {
  account.querySelector("span").textContent = customer()?.name ?? "Log in";
}

function showCount() {
  const things = count();
  basketButton.querySelector(".tally").textContent = things;
  basketButton.querySelector(".visually-hidden").textContent = things === 1 ? "item" : "items";
}

account.addEventListener("click", askWho);
basketButton.addEventListener("click", openBasket);
changes.addEventListener("customer", showCustomer);
changes.addEventListener("basket", showCount);
showCustomer();
showCount();

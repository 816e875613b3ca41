/**
 * The device sections of a real machine that was never run, for the model guest to carry.
 *
 *     qemu-system-x86_64 -nodefaults -display none -machine pc -accel tcg -m 256 -S        QEMU 10.0.2
 *     (qemu) migrate file:...
 *
 * Gzipped JSON in base64: `[idstr, instanceId, versionId, sectionId, body in hex, description]` for each SECTION_FULL, in
 * stream order; `description` is the text of its object in the VMDESCRIPTION. Nothing of the firmware is in it.
 * @module
 */
import process from "node:process";
import type { DeviceSection } from "./guest.ts";

/**
 * Unpack the sections. Each call gives its own bodies.
 *
 * `node:zlib` is fetched here and not imported: it takes 10 ms, which a program that never saves need not spend.
 */
export function modelDevices(): DeviceSection[] {
  const { gunzipSync } = process.getBuiltinModule("node:zlib");
  const text = new TextDecoder().decode(gunzipSync(Uint8Array.fromBase64(SECTIONS)));
  const rows: [string, number, number, number, string, string][] = JSON.parse(text);
  return rows.map(([idstr, instanceId, versionId, sectionId, body, description]) => {
    return { idstr, instanceId, versionId, sectionId, body: Uint8Array.fromHex(body), description };
  });
}

const SECTIONS =
  "H4sIAAAAAAACA+1dXY/buJL9K41+9nQk2Zbd87Y7F4udhwsMdrDAxWYCgZYot6b1FX24u+9i/vslJdmWZbnNKjm5mcyppNOxrCqJh1TxsFikPn68r6" +
  "JEFvcza+aon3uLKPez+///7T4Vifzt/se731prv93P1H+jtKxE6ksvCvR3lj62S8rAGz17J4syylJ93NGfw0jGQak/fjy5gJ/XXhX5z6WXhWEpq1a7" +
  "esu776O0chftwTL6Z3Nw/cfs7sRGndalDIaa7VFvU4fh/qYuWtB34ceZ/0y5i09/3H+afWx1syTJUo26PZsPUbfPUD2qGEM7VOnha7+H75OIqxFsVI" +
  "HmzmmBFkNQ1DmyKOq88gr5uZZlZWblCEuDhzNbkJqha4Ub2/qOJQzD4SGn/bWwrPkq/I7K2ZTlcd59Hvnu5LwNzd63et7aMTzPsLymOHPE7RzUN92G" +
  "hsVbtMf35bbDtQWBfGHZP/0r1f7c3m/9+NiAB3LZg73noa9937Qt2xKX9C4J9z6hD/0pjIIp8KCQU1naC3e+slZLJ1xZbuj6rr8M3bn6n1wtVo4+oj" +
  "4Hq/nKudSGRobdlPH2+UD73UiGTHcPhdyWrZooCvHmxbJVdM8HzlejGtqejPKxQbeZbhiL/d0w1J8uql8NHGj1MK/9MWXbPVV2LiiXnqqQSlRygpFK" +
  "bG9gRdepF2ZFIqobWRtpIetTg2VV1H4Xb9n//0dtbtBKG3tn7dR6r5lWyVmTOhwas+4dvzW/gpeItGI1Pa0sX3MzhD/1P9rWH5/+GBwYqYJyvAJcXg" +
  "Uoa4ncF9U0JlfKWPpVVrAero0oJQvZOEqiinVJgic4rQFntAbi4Ow2APeXg7sqgPbXQ3uLxv014Y4A99eEu3wrpZ4V8nw+MzzYkCWf3B6NTGDIfvHR" +
  "+jRF25mkPZ+kveBrB8V1BmpsTDiWYnvl88iUqVFzSF79smA3ptck8TSlPlTku+MuU9fQWaW5Bu+z939///v/yC23UR0N2IYGBnzXHR8GyoL/mFWCrx" +
  "xP0vYnaYdjTdJY+1kWqYy3JdthN9gll9SNWnYuqoljd4d97V3iPZVixy+7MrBL/A1bvyr9C5kYxiaa7AVf5jew4PmFcgciYA/7Tyy9FNGECMLRVHCz" +
  "mwpud1PyVf9S7pLPD3ZelY8++OtTZXu0N6mKwguj133Ky2l3YDNbQmM1kGGrOsXIThS3i/6cWjTtp9hOzdylmvRLx+yiKP1dcerzJCVjBpF7F6NyRg" +
  "aUt+FHWfcN3ksLbgHKLNQodHhwm36aRBehpNjIZRpE6ZZr4kmUnipIpsYIWSC5Vsooj7wdf6jVtAt/6/mCPzzQ+rph1eUkE34VT9CX3kakz2MRy4U1" +
  "oXMV9euUsVclE08ne3pJyedoLyKOu6zLKWZe/cLiKzeew9vs+Bb2IxD7liOQtyR5mjIEcaYOQebcIUgbk683pXp4Wx7Q3uX5/NqHPNMNIEurIouPTc" +
  "C0sA1JHrVw/Z67HNXnXfKDIhs/ZHnV5u4u6RnTfzUZTqr2MDSeXD3TMa3zIkvG+3rT50pdeSfyyP9hqxOaf1D2aDcwPdV8J4KA16cpWls3VKeoJuir" +
  "3p2l3cDm8e++1W+/5qjrBPjyKQp5ZVcjpViPKzz2/df55Db3JNIgVg2NGnKuLo2Irt50p+tJ8crS3/avfS1caGpNN2H/mROUXpyZTFAr30KtDFiAc1" +
  "5k9gBt+pN76DQme6/8BvdAsNGxFH1pTU/mM3d2H0ppWY/D3L3B8oo/q9jE318kU3cvQ6Kjq8GY4RxP7jmU+XsORWuwA8YRa8Qvio3H02RG6Mq8LqJM" +
  "53ZJn1XOONt6wYWVaNcurvW8hBmTiMpbudsquZWlqLiVpXhXXU+JMou7MOfyIn+sLA7DUhDtokDqQWHIuhM/q9NqnGmaLZqMqkjoQWmdVsxllz0LXp" +
  "yJoAm1cBbGpvK1Yis3i3l1Ll5UvFHWw2pf+mPz98H68PNiYf3XP9rea3UYXDtrd23NV7YzWAHpTvbhC1uo7uHG/YPzVdUgY2GGkVZl3Bn3TzftjnNR" +
  "SPX4ZZvfuQOMX376+W9yF/mStiC+O2+kY26cx10srzqwNIzGkhByP7prvxxM6S3d867l83icRdtQX971vuzH/k5TiFbu5JX69t6rKDT/Oyu7MN36GK" +
  "YbtpPuPOO2cXK+6eCvRfEYnzUk8upa//m/v7ZFeDwUYUF9FFozlBIeTjctYKrqeLz5yc+1iK8Sk8/9/u901sKgS+3gCl88P9y2W1nYw70slpZw3dWq" +
  "WRKi/uOE7sIN3MuOf2nJwfm2Xl7iPjaLSMaWkDjX1yjZi2HdtPdsXDf90413zKhVr5xW552y0XS91m4zKy5kGY1Uh1lEvy3LhyARtOUCSuHi2H58vu" +
  "HitYWfR15CnEeoxCaWSutibNIgPTN9VlRpiomiDHKagcMkhsKvdSm2rZ+RMPz2O/NDGzF4RMba0xXnnCQiZQ1rL2U4XNML4yj3wjjLWeNS9ljjwlqi" +
  "BY+v6OfwaNG4p8herg/caMnR14aAV30cd5Cfiy1b74lV9RcirlczJAxb2iAsuzpxGbb+4wxchv1ncxk2XAZcBlzGF3cZiW8v3LW9LqpuLsKez+7nj7" +
  "1gy8qxbdtxHVcz58GWPK767NC3FdAaHQ0P+3uwqKv+yYMrX2u7BXdjWdLebOy1fJRu6PtiNV9uzney6r4PLNeSznKuP4v5QspH3/b9YH7mjnvNwZjJ" +
  "nemYxmL8JCu9QFRi2IJHIwbO+e5+Wj9KA/nKeXLa6MTYoo7LYYvze8hlEWVB5Hu9PRJ7K7CPB98P5p6Y4e+VODb2e6c0F0b4Ipalz9xcsC0Iexmdd2" +
  "hE1LGaKCuvzoML09FX9SfsUtlcdGL9i1gUyWjl10YxefvB/hAFsnPhi9OIvG2tmg9rq3PhlJ2t7K8ZkYd8P2KPH7RPu0VhLf90ehfnMLqn0LjnPJyL" +
  "2Yt/5+zFJumNQhs20VUXHV5Vo3c9c+ZMiDdIjbaFaBapqJFuLqp3ljVczRnhZkAd76GQVfHmlc3iDi+tE05nOrSWlvy1IkNbdRpVnLHS4zvtBS0ELW" +
  "SshewhvoE/8Q7GjMNevLbCLL1zsfB/meKqbu0hCm9Y5UER7YjUIKnjqnu0SlaCU6CYRRTqx5MVgQylciwFb2GgXlbIUZzy7F9WvXbV2H+LOXpPXL1s" +
  "401AV6vzC6u102nq8YRyczFr9/NhabI7yHgjFmvezSqEvWf5xuqWxxc5X1PzA5267j+JdGu4rHjgBtfX/CA8HzwfPB8831/D89lggPCD8IPwg/CDYI" +
  "DwfPB88Hzfs+fr5t8jx9fxyi5Pezm7P19e3J1iPifYP9941wKxk0GTbS/L0rBEwwSC+Yc8il4XXp50WQTuIItgvrIPWQTz5vfXWNdnT89f3Su7X3Cy" +
  "+xt4t+Xjtzfd/wWWa9rfwFuNIBAIBAKBQCAQCAQCgXzLsrSk3hzEfVyt54ulfgNt4IRu4C7Vz3q1P+sQy3gn0/8YLjMO7Z0qIOf/35nzL4qHPLEf5K" +
  "56KKuSteVKz4ReoMy34KeV/uGZyBNus/iPX/5+9+sRPdNYs7oiK+qu9Mpb5NuWyYZbYnUHe2XjyHqyadofa25D6V54S4SRKi+vWateytU30dULcq0p" +
  "yjZX+eJS3usTmt2lR3YNmDtMCOvXCXW3iZ/HFjYbbUnq+J5M9eZFZ8uisyy+opzlXpClHM1IOXo99dS8t2PsBVQGNpo97L2qEGkpmj2lPPW3nVQ0Nj" +
  "nYg3o94jOrRP1wl9t2+plyAGGcvbAXXCs725z9voKDqrEfYnZSpj3TAPaz0uoduFSX6z1lVR7X24fut3d5svnqQ3tmc3/gKW8O92ejp6bUvWPa+BUR" +
  "OauUQfaScnZfX98ELhtwUeByABcFrjngosC1AFwUuJaAiwKXC7gocK0AFwWuNeCiwPUIuEg0FbSehhd4PQ0vEHsaXmD2NLxA7Wl4gdvT8AK5p+EFdk" +
  "/DC/Sehhf4PS2uCn5Pwwv8noYX+D0NL/B7Gl7g9zS8wO9peIHf0/ACv6fhBX5Pwwv8npYIAH5Pwwv8noYX+D0NL/B7Gl7g9zS8wO9peIHf0/ACv6fh" +
  "BX5Pwwv8npa5Cn5Pwwv8noYX+D0NL/B7Gl7g9zS8wO9peIHf0/ACv6fhBX5Pwwv8nrbUCvyehhf4PQ0v8HsaXuD3NLzA72l4gd/T8AK/p+EFfk/DC/" +
  "yehhf4PW1vAPB7Gl7g9zS8wO9peIHf0/ACv6fhBX5Pwwv8noYX+D0NL/B7Gl7g97TNrMDvaXiB39PwAr+n4QV+T8ML/J6GF/g9DS/wexpe4Pc0vMDv" +
  "aXiB39N2XwW/p+EFfk/DC/yehhf4PQ0v8HsaXuD3NLzA72l4gd/T8AK/p+EFfk97XQD4PQ0v8HsaXuD3NLzA72l4gd/T8AK/p+EFfk/DC/yehhf4PQ" +
  "0v8Hvi+61A8ImAgeETAQPFJwIGjk8EDCSfCBhYPhEw0HwiYOD5RMBA9ImAgekT38wKpk8EDEyfCBiYPhEwMH0iYGD6RMDA9ImAgekTAQPTJwIGpk8E" +
  "DEyfBhheaksFDEyfCBiYPhEwMH0iYGD6RMDA9ImAgekTAQPTJwIGpk8EDEyfBhheb0sFDEyfCBiYPhEwMH0iYGD6RMDA9ImAgekTAQPTJwIGpk8EDE" +
  "yfBhhedEsFDEyfCBiYPhEwMH0iYGD6RMDA9ImAgekTAQPTJwIGpk8EDEyfBhheeUsFDEyfCBiYPhEwMH0iYGD6RMDA9ImAgekTAQPTJwIGpk8EDEyf" +
  "BhhefksFDEyfCBiYPhEwMH0iYGD6RMDA9ImAgekTAQPTJwIGpk8EDEyfBhheg0sFDEyfCBiYPhEwMH0iYGD6RMDA9ImAgekTAQPTJwIGpk8EDEyfBh" +
  "heiEsFDEyfCBiYPhEwMH0iYGD6RMDA9ImAgekTAQPTJwIGpk8EDEyfBhhejUsFDEyfCBiYPhEwMH0iYGD6RMDA9ImAgekTAQPTJwIGpk8EDEyfBJiD" +
  "d+RSAQPTJwIGpk8EDEyfCBiYPhEwMH0iYGD6RMDA9ImAgekTAQPTpwGGd+RSAQPTJwIGpk8EDEyfCBiYPhEwMH0iYGD6RMDA9ImAgekTAQPTpwGGd+" +
  "RSAQPTJwIGpk8EDEyfCBiYPhEwMH0iYGD6RMDA9ImAgekTAQPTpwGGd+RSAQPTJwIGpk8EDEyfCBiYPhEwMH0iYGD6RMDA9ImAgekTAQPTpwGGd+RS" +
  "AQPTJwIGpk8EDEyfCBiYPhEwMH0iYGD6RMDA9ImAgekTAQPTpwGGd+RSAQPTJwIGpk8EDEyfCBiYvglgAOgAUNd2jOw3H+tNKf1KFfhQxAFUeRS9Lr" +
  "w8+ZDI5CmnYdTcktLLirf9bXJrrLVy11m50zUmaTdTyliVNCs46OvPn/64/zT7eG8p+VH/tR+sD7/8/PM/5vczazaf2atZ850SZ+2u1a+Vtf/c/Gtb" +
  "rv61tvgSLmyhDNlc/UWg/plfP2/d/emJc/p9T3z1x7FuK0OQQusvJfez+5Ome97m9j2Feg5SX3pRoE9sGO/guemd3XtQ5u89KIHccZ/SX376+W9yF/" +
  "nnj6bz3hW785pinF64eTbvYnnFq/pZGkbbj9anob5ykHftl6cWnKU7tBEVn72eWzm1ob7s+5y9GdsdOApndWZX+2htO5Y7GZeeQuxoRxSFeFPfNBAt" +
  "Rop+7pYaJxStneWj9jv2zF4f/I5xe2rUjZtQ72xTXxuLslKFHvW16wGE5/XAU0t4aiVLLS+irIiqN08EAa+Qn72NKCVHt5Ai8Aq59doejXX7WRxz9M" +
  "pc+pGIvUSUz6xip1E1/pCZaIu6yjyZRSzQMn1VTzmZKVb25Q/rOH7zUllWMvCSLJBcMBasu4jSbSzZ15Wxb9bmT52Nrf883tLZ2HA2cDZwNnA2fWeT" +
  "iTzy2yGVY133Np3Y+Pz1P595+qbuzHll73TTsUnEc4CZ8mDKgXF067Qu5flVm6Pepg5DWZxaWBv2MVdDRfqug2oTjwwVhsv6tD13MbyP7pF6ymWlHy" +
  "hn5tjGD9RRjvGCxf5AOBCDyMVQw/4CNp3b2xw2cY2lcQM/nmw6EO4PVa/Vrhm3uKqnb9LzszqtJM9AWideFSWqhF4pdqxOolEfaebM+YKmSD2bpkSy" +
  "Sjk3P6HO/CRn6YXlhqWXS8UkA5bqSyFyL4zFlgPRZ5nU/Qo5avcO9v3WiV90+gORRUcNnBNPZr/juy5HS20xt3zHZ+ubXd9cuvsZG0AtSNGaBa1T9Z" +
  "9Emsq4/Gh9etBjhSAqxSaWAavX2hu73eOcR9VdZ5XqTZVXG40oXilDLCr/SXXvowY0CrY7CCeeOwWl6XV2WLS7mZKaboE95mMPnF7UUFVOVW/Kzbr3" +
  "F/ZQhau38Vn1s2UC1DWtTNWR9p4j7ft6ly1fVQdZiLSM9NSfuZ1Tzzx3Lj382pNMuEjj7XO/zJ/bGLczb7390DM2pxh7xt7ZpowgEJXwMhYtCOokef" +
  "MKGRayfPL8OPOfKePgMPA7zr6Y3S8sX8+zTZw9hEAg36Wc8E/3dMZ+aduu6y5Wjvu4ct2lE7qBu3QX7qNrL0N11F4t3OWZHaLW0DMr92Xslw/nmvK6" +
  "UW5hyibpVysEi34VG1a3kRWnU8TEkXTAmmEIeBMTCU+tZaYWX9Xmqzoc1TAKs5HxzHK4U7MR1JpS5FnJyx7Tys3VucrsltVoBxGrwmVWscNCFlvT5s" +
  "21ST9LckVcn28bDLqmaUwQhzf8UrCGHzpsF8ZZnkdyfJB4Jz/XIr7WKopoJ4d5qxbXM2tjNIL+pIaqrAZSCB7cpekkqGF6ZVvoD4kMIuEV5KTGod7V" +
  "wcUwXem9CkUV/jmq8PTA8nF+GEKXzvMm6CKmy9m9+TwIBKOJY+7vWdylaVfmgZfe6aYx6VwUMq28bPM7Oxf1V+fupyxJsvTu19Fs8Xev34Yh/STgxI" +
  "8/17KWD0VeFXztl0na7NB3q67J3lB7bK5bp9EO3dFZULD0RerJdHRKweSWmhhiPOIfTZT1xf0skF4pzfA4us4kq0vZBeFcOE/Il0jt37czijPtKZgG" +
  "MeBOvxt32tS+x5/da/ULWWZxXUW8yY3uHkSSx9Kcuo4a0YkFfO1Wh6sdyEpRe35MpLPyymkZne7bBN1/8nU3dVU1IxrzGancP44lmrVu9rrJb1jai5" +
  "Xlzt2N67gLJ3SXq7WODbvS1f8uluFqrj7348VmjtEnUUyfzDAPCoyMBPrVLjrALzuVz53TzmUaROnWq5L8lkPlBrgP8rVS5uVJjkEPR+vd0XK0Vf5G" +
  "zyfrZCReFDXblIXP1Bxz5UaBQXPN4Qh/Ye0fwV1y4KSKle4Xfi3AqiAQCAQCgUAgEAgEAoFAIBAIBAKBQCAQCAQC+V6kzU0dptF0KQPGiTQn55smZT" +
  "RZbl6brzC2f+/ISqLxTLmRRXa2NbbZ1dVMjXTj9SwSd++4nG9zVVVsmrw6Scqsyorq0em2Omh22DxLhmrOMM+G6p1uugwlqyutRrnvZnv3TR3FQXvv" +
  "8/XYvR/PMr7/oYppGXLCbildGbZxthFxk4jUFeK4xalYWSvHXbq+a690PtvcpW6/YH8brmFYJb1CG9fJmY7xvvsjbsHoES7qdDQzcyxz9nwrkieh99" +
  "r2XtSvsi7zJuGMk7h1CxvjewiOlcN1m4b56V/K+Y5ANSMCAA==";
